// Package differ runs scripts of Kafka requests against a broker and compares
// the answers, field by field, with those of Apache Kafka.
//
// A script is a text file. A statement begins in the first column, what is
// indented belongs to the statement above, # begins a comment line.
//
//	client c1 __admin_client     the client id of connection c1; "differ" unless said
//	send c1 CreateTopics v2-7 {Topics: [{Topic: t-$v, NumPartitions: 1}]}
//	                             a request, once in each version; the answer is
//	                             compared. Connections open when they are used.
//	start j c1 JoinGroup v5 {…}  a request whose answer is not waited for
//	await j                      … and now it is
//	quiet c1 Produce v3 {…}      a request that has no answer (acks=0): "closed",
//	                             or "open" if a request that follows is answered
//	raw c1 00000004 ffff         bytes, as they are; the answer is what happens:
//	                             "closed", or "open" a second later
//	close c1                     closes a connection from this end
//	sleep 100ms
//	batch b codec=zstd pid=$pid  record batches, for Records: $b; see batch.go
//	  record key value
//	each v 0-9                   everything up to "end", for each value of $v
//	end
//
// Requests are relaxed JSON with the field names of package kmsg: strings need
// no quotes where they hold no ,:[]{}" and no space. What is left out has
// Kafka's default. Byte fields are text, hex:00ff, or batches ($a+$b). Topic
// ids are base64, as Kafka's tools show them. A version is v3, v2-7, v$v (of
// "each"), or v$v/0-5 ($v, but not outside of 0-5).
//
// Indented below a request:
//
//	$id = .Topics[0].TopicID     keep a value of the answer, for later requests;
//	                             .Topics[name] is the element of that name
//	until .Topics[0].ErrorCode = NONE    send again until it is so; only the last
//	                             answer counts
//	keep .Topics Topic t-        of an array only the elements whose field has
//	                             that prefix: other scripts leave things, too
//	ignore .Topics[*].Size       do not compare; .Configs[name] is the element
//	                             of that name
//	within 2s                    the answer may not come at all: then it is
//	                             "silence", and the connection is closed
//	mutate cut 3                 spoil the frame; see frame.go
//
// Before they are compared, answers lose what must differ: see normal.go.
package differ
