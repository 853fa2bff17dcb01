package s3store

import (
	"context"
	"iter"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/driftdb/driftdb-go/objstore"
)

// maxPage is the largest number of keys that S3 lists in one request.
const maxPage = 1000

func (s *store) List(ctx context.Context, prefix string, opts objstore.ListOptions) iter.Seq2[objstore.Info, error] {
	return func(yield func(objstore.Info, error) bool) {
		in := &s3.ListObjectsV2Input{Bucket: aws.String(s.bucket), Prefix: aws.String(s.prefix + prefix), MaxKeys: aws.Int32(s.pageSize)}
		if opts.StartAfter != "" {
			in.StartAfter = aws.String(s.prefix + opts.StartAfter)
		}
		if opts.Folders {
			in.Delimiter = aws.String("/")
		}
		pages := s3.NewListObjectsV2Paginator(s.client, in)
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				yield(objstore.Info{}, s.failed(ctx, "list", prefix, err, nil))
				return
			}
			for _, info := range s.entries(page) {
				// Servers differ in which folders StartAfter skips.
				if info.Key > opts.StartAfter && !yield(info, nil) {
					return
				}
			}
		}
	}
}

// entries returns the objects and folders of a page, in the order of keys.
func (s *store) entries(page *s3.ListObjectsV2Output) []objstore.Info {
	infos := make([]objstore.Info, 0, len(page.Contents)+len(page.CommonPrefixes))
	for _, o := range page.Contents {
		key := strings.TrimPrefix(aws.ToString(o.Key), s.prefix)
		// Other programs leave keys that Get refuses, such as "folder/".
		if objstore.ValidKey(key) != nil {
			continue
		}
		infos = append(infos, objstore.Info{Key: key, Size: aws.ToInt64(o.Size), ETag: aws.ToString(o.ETag), ModTime: aws.ToTime(o.LastModified)})
	}
	for _, p := range page.CommonPrefixes {
		infos = append(infos, objstore.Info{Key: strings.TrimPrefix(aws.ToString(p.Prefix), s.prefix)})
	}
	slices.SortFunc(infos, func(a, b objstore.Info) int { return strings.Compare(a.Key, b.Key) })
	return infos
}
