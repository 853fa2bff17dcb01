package driftdb

import "github.com/driftdb/driftdb-go/objstore/s3store"

// S3Config names a bucket of Amazon S3, or of a service that speaks its protocol.
type S3Config struct {
	Bucket string // must exist
	Region string // default: the environment's or the AWS profile's; us-east-1 with an Endpoint
	Prefix string // prepended to every key. Default "driftdb"; "/" is the root of the bucket

	// AccessKeyID, SecretAccessKey and, for temporary credentials, SessionToken. Default:
	// the AWS chain of environment, profile, web identity, container and instance role,
	// which is consulted again when the service says that the credentials have expired or
	// are unknown. Keys given here never change.
	AccessKeyID, SecretAccessKey, SessionToken string

	Endpoint       string // URL of a service other than Amazon's
	ForcePathStyle *bool  // the bucket goes in the path, not in the host name. Default true with an Endpoint

	// ServerSideEncryption is how the service encrypts what it stores: "AES256",
	// "aws:kms" or "aws:kms:dsse". Default: the bucket's own setting. Set it if the
	// bucket's policy refuses objects that do not ask for it. To encrypt before anything
	// leaves the machine, see EncryptionKeys.
	ServerSideEncryption string
	// KMSKeyID is the ID, alias or ARN of the KMS key; it needs one of the two aws:kms
	// modes. Default: the bucket's key, or AWS's own key for S3.
	KMSKeyID string
	// StorageClass of stored objects, such as "INTELLIGENT_TIERING". Default: the
	// service's, which is STANDARD for Amazon. GLACIER and DEEP_ARCHIVE are refused,
	// because objects in them cannot be read at once. Neither can objects that the
	// bucket's own rules move to an archive.
	StorageClass string
	// DisableChecksums neither sends nor asks for a CRC-32, for services that do not know
	// the header. Default false. Damage in transit is then found only when an object is
	// read, by the hashes in batches and manifest.
	DisableChecksums bool
}

// bucket converts c to the store's configuration.
func (c S3Config) bucket() s3store.Config {
	return s3store.Config{
		Bucket: c.Bucket, Region: c.Region, Prefix: c.Prefix,
		AccessKeyID: c.AccessKeyID, SecretAccessKey: c.SecretAccessKey, SessionToken: c.SessionToken,
		Endpoint: c.Endpoint, ForcePathStyle: c.ForcePathStyle,
		ServerSideEncryption: c.ServerSideEncryption, KMSKeyID: c.KMSKeyID, StorageClass: c.StorageClass,
		DisableChecksums: c.DisableChecksums,
	}
}
