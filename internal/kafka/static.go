package kafka

// staticAPIs are the APIs whose answers say how a broker over a bucket differs
// from one with disks and replicas, and those about what is not configured.
func staticAPIs() []API {
	return []API{
		// Topics, as far as they differ.
		describeTopicPartitionsAPI,
		describeProducersAPI,
		// Replicas, their places and their leaders.
		describeLogDirsAPI,
		alterReplicaLogDirsAPI,
		electLeadersAPI,
		alterPartitionReassignmentsAPI,
		listPartitionReassignmentsAPI,
		// The cluster.
		describeQuorumAPI,
		updateFeaturesAPI,
		unregisterBrokerAPI,
		// Security, quotas and transactions, of which there are none yet.
		saslHandshakeAPI,
		saslAuthenticateAPI,
		describeACLsAPI,
		createACLsAPI,
		deleteACLsAPI,
		createDelegationTokenAPI,
		renewDelegationTokenAPI,
		expireDelegationTokenAPI,
		describeDelegationTokenAPI,
		describeClientQuotasAPI,
		alterClientQuotasAPI,
		describeUserScramCredentialsAPI,
		alterUserScramCredentialsAPI,
		describeTransactionsAPI,
		listTransactionsAPI,
	}
}
