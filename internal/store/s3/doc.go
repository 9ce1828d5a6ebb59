// Package s3 is a bucket on Amazon S3, on an S3 Express One Zone directory
// bucket, or on a server that speaks S3:
//
//	s3://bucket/prefix?region=eu-west-1&sse=aws:kms&kms_key=alias/karst
//	s3://bucket?endpoint=http://127.0.0.1:9000&path_style=true
//
// Query parameters, all optional; others are refused:
//
//	region      AWS region. Default: AWS_REGION, the profile; us-east-1 with an endpoint
//	endpoint    URL of the server. Default: AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, AWS
//	path_style  true: bucket in the path, not in the host. Default: true with an endpoint
//	sse         AES256 or aws:kms: encryption asked for with each object. Default:
//	            the bucket's own
//	kms_key     id, ARN or alias of the key for sse=aws:kms. Default: the account's
//	profile     profile of the shared configuration files. Default: AWS_PROFILE
//
// Credentials are never part of the URL. They come from where the AWS SDK looks:
// environment, shared files, SSO, web identity (EKS), container and instance roles.
//
// Each call is one request. Retries, hedges and limits are decorators of the
// interface (packages retry, hedge, limit), so the SDK's own are off. A create is
// a single-part PUT with If-None-Match: *; multipart uploads are never used, as
// not every server decides their races.
//
// Uploads carry a CRC-32C, computed before they start, in a signed header: no
// chunked encoding, which many servers lack. Over https the payload itself is
// not signed again.
//
// A directory bucket (name ending in --x-s3) lists in no order and not from a
// given name; List then reads all names under the prefix before it yields one.
package s3
