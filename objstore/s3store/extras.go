package s3store

import (
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// extras are what a bucket may require of each object. They go with the request that
// creates the object, a PutObject or CreateMultipartUpload; S3 refuses them in other
// requests.
type extras struct {
	encryption types.ServerSideEncryption
	kmsKey     *string
	class      types.StorageClass
}

func (cfg Config) extras() extras {
	e := extras{
		encryption: types.ServerSideEncryption(cfg.ServerSideEncryption),
		class:      types.StorageClass(cfg.StorageClass),
	}
	if cfg.KMSKeyID != "" {
		e.kmsKey = aws.String(cfg.KMSKeyID)
	}
	return e
}

func (e extras) toPut(in *s3.PutObjectInput) {
	in.ServerSideEncryption, in.SSEKMSKeyId, in.StorageClass = e.encryption, e.kmsKey, e.class
}

func (e extras) toUpload(in *s3.CreateMultipartUploadInput) {
	in.ServerSideEncryption, in.SSEKMSKeyId, in.StorageClass = e.encryption, e.kmsKey, e.class
}

// byKMS reports whether a KMS key is used, whose policy then applies.
func (e extras) byKMS() bool {
	return e.encryption == types.ServerSideEncryptionAwsKms || e.encryption == types.ServerSideEncryptionAwsKmsDsse
}

var (
	encryptions = []types.ServerSideEncryption{
		types.ServerSideEncryptionAes256, types.ServerSideEncryptionAwsKms, types.ServerSideEncryptionAwsKmsDsse,
	}
	// Objects in archives must first be restored by hand, which takes hours, before they
	// can be read.
	archives = []types.StorageClass{types.StorageClassGlacier, types.StorageClassDeepArchive}
)

func (cfg Config) checkExtras(p *problems) {
	e := cfg.extras()
	p.when(e.encryption != "" && !slices.Contains(encryptions, e.encryption),
		"ServerSideEncryption %q is unknown; choose one of %q", e.encryption, encryptions)
	p.when(e.kmsKey != nil && !e.byKMS(), `KMSKeyID needs the ServerSideEncryption "aws:kms" or "aws:kms:dsse"`)
	p.when(!isWord(cfg.KMSKeyID), "KMSKeyID has a space or a control character")
	p.when(!isWord(cfg.StorageClass), "StorageClass has a space or a control character")
	p.when(slices.Contains(archives, types.StorageClass(strings.ToUpper(cfg.StorageClass))),
		"StorageClass %s: its objects cannot be read before somebody has restored them from the archive, "+
			"and a database reads its bucket at any time; GLACIER_IR can be read at once", cfg.StorageClass)
}

// isWord reports whether s can be the value of a header as it is.
func isWord(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f })
}
