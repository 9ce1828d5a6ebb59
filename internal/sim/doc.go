// Package sim is a whole cluster inside one test: brokers as they are, in
// virtual time, on a bucket that fails on command, with clients whose history
// is checked afterwards.
//
// # A world
//
// A World runs in one testing/synctest bubble. It has one bucket in memory, a
// network of in-memory connections, and broker processes, each with a faults
// store of its own between it and the bucket. A process can be crashed (its
// memory is gone, and each of its outstanding PUTs takes effect up to ten
// seconds later, or never), cut off from clients, stopped cleanly, or be left to
// run as a zombie while another takes its place.
//
// Processes are hosts of a network of their own: two can be parted, in one
// direction or both, without either hearing of it, and one can be cut off from its
// clients or its peers alone.
//
// # Clients
//
// Clients know the cluster as Kafka's do: from the metadata that some broker gave
// them, which may be old. They keep a connection to each broker they talk to, ask
// the leader of a partition or the coordinator of a group, and look for it anew
// when told that it is another. That they asked the wrong one is never a finding.
// What an answer must know is decided by the leader epoch in which it was given
// (epochs.go), not by who the client thought it was connected to.
//
// # A history
//
// Clients note what they asked for, when, and what they were told: acknowledged,
// refused for certain, or unknown. At the end everything is healed, and a
// fresh reader reads everything, mostly from fresh brokers. Check then compares: see
// Finding for what may never be.
//
// # Groups
//
// Members of consumer groups join, sync, commit, fetch, leave and die; others
// commit without being members, and onlookers fetch committed offsets at whoever
// they take for the coordinator, a zombie included. The offset of a group for a
// partition must be a linearizable register; a generation has one assignment, in
// which no partition has two owners; and once a member was told what the log has
// of a generation, no earlier one is served. Joins and heartbeats of a deposed
// coordinator are excused: it answers them from memory. So are heartbeats while one
// loads.
//
// # Clusters
//
// Most scenarios are a fleet: one to seven brokers that form a cluster. Brokers
// crash, alone and together, stop, come and go, are drained, frozen, parted from
// each other, from their clients and from the store, and go on while another
// process has taken their place. What lasts overlaps with what comes next, and half
// of the time the nemesis waits for a moment worth hitting: an election, a failover,
// a hand-over. Every action is counted by what it hit.
//
// When everything is healed, processes that run are left alone: the cluster must be
// whole within a bound (one controller, each broker one live incarnation, each
// partition a leader), and nobody may claim anything from then on.
//
// A frozen process is one whose requests and messages stand still. Its timers go
// on, unlike those of a process that is stopped by a signal.
//
// # Members
//
// Some interleavings of two incarnations are too rare to wait for. They are played
// one level below: members are incarnations around one controller, and clients call
// their engines. Their history is checked alike.
//
// # Seeds
//
// A seed fixes workload and faults, not the schedule of goroutines: a seed that
// failed is to be run many times again, as the failure's message says.
package sim
