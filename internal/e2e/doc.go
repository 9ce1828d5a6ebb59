// Package e2e tests the built binary from outside: real processes, real
// sockets, real clients and real S3 servers, killed and cut off on purpose.
//
// Its tests are skipped unless KARST_TEST_E2E=1, because they take minutes and
// need tools: kcat, a JDK with Maven, Python 3, Node.js. One that is missing then
// is a failure, not a skip; scripts/clients.sh fetches the clients and says what it
// needs for that.
//
//	KARST_TEST_E2E        1 runs these tests
//	KARST_TEST_S3         a bucket to use, as set by scripts/s3-server.sh;
//	                      without it a versitygw is started for each run
//	KARST_TEST_KILLS      kills per store, 50 by default
//	KARST_TEST_OUTAGE     length of the store outage, 20s by default
//	KARST_TEST_RECORDS    records of the data set, 1000000 by default
//	KARST_TEST_GROUP_RECORDS  records of the data set that groups consume, 50000 by
//	                      default, and
//	KARST_TEST_GROUP_SECONDS  in about which time, 25 by default
//	KARST_TEST_SOAK       seconds for which Connect, MirrorMaker 2 and Streams work
//	                      while brokers are killed; all at once, if it is set
//	KARST_TEST_UPGRADES   how often a cluster is upgraded and rolled back, once by default
//	KARST_TEST_STORE      s3 runs the tests of clients, tools, Connect, MirrorMaker 2,
//	                      Streams and upgrades on S3, not on a folder
//	KARST_TEST_BOOTSTRAP  a broker, not necessarily Karst, for the tests of clients
//	                      and of Kafka's tools
//	KARST_TEST_CHAOS_…    see TestClusterChaos and scripts/chaos.sh
//	KARST_TEST_AVAILABILITY, KARST_TEST_SYSTEM, KARST_TEST_EVENTS, KARST_TEST_ONLY  see
//	                      TestAvailability and scripts/availability.sh
//	KARST_TEST_NAMESPACES  0: no network namespaces; by default each broker of a
//	                      cluster is in one of its own, where that is possible
//	KARST_TEST_BINARY     a karst to test instead of building one
package e2e
