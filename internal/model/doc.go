// Package model is the protocol as an explicit state space: every interleaving of
// a small cluster is visited, and in every state it is asked whether anything that
// was acknowledged is lost.
//
// There is one specification and there are several bounds of it (Configs), each
// with the actions that it is about: all actions at once have too many states for
// more than the smallest numbers (everything, rivals). Rules are the rules of the
// design, each a switch: a test takes away one at a time and wants the loss that
// the rule prevents. testdata/losses.txt has the shortest way to each, and is the
// shortest introduction to why the rules are as they are.
//
// # What is modelled
//
//   - The bucket: names that are created once. A create takes effect some time
//     after it was sent, its sender alive or not; its answer comes later, or never.
//     Deletes may take time, too.
//   - Incarnations: WAL numbers whose uploads overlap and are tried more than once,
//     acknowledgement by prefix (I1), trim entries, flush (copied, or adopted as it
//     is), planned moves, proofs of freshness. An incarnation does not know that it
//     was fenced until a tombstone or its replica tells it: all are zombies.
//   - Commits: CommitRequest.apply with its conditions (I8, I9), fence,
//     registration, placement, merge. Requests may be lost, be late, come twice and
//     in any order, and to a controller that is one no more.
//   - Controllers: seal the term, read it, claim the next; one create outstanding
//     (I11). Each acts on its own image, and goes on sealing WALs when its term is
//     over. Claims may take effect after their writer has given up.
//   - Failover: seal at the first free number above the trim, walls ahead of the
//     writer, adoption by epoch.
//   - Collection of WAL objects, and of commits behind a claim and a snapshot.
//
// # What is not, and why that is sound
//
//   - Crashes. Whoever crashes takes no more steps, and in each state everybody may
//     take none: the properties are asked in every state.
//   - Clocks, sessions, heartbeats. Anybody may be fenced, and any controller
//     replaced, at any moment (I14).
//   - Records: a batch is one record, known by the WAL segment it was first in.
//     Batches of one segment and partition are acknowledged, flushed and adopted
//     together.
//   - The reading of a sealed WAL is one step with its walk. What is read later is
//     the same, or gone, and then the failover begins anew.
//   - Damage, stopped partitions and held objects: they only keep more.
//   - Large adoptions in parts: each part is an adoption's range, on which nobody but
//     the next part acts.
//   - Flushed segments and Settled.Counter. Nobody but their writer names them, and
//     Settled.Request is here; the properties of package metadata have the rest.
//   - Replicas of brokers go to the tail in one step; see catchUp. Collectors ask the
//     newest image; see collect.
//   - With one term, the controller's creates are one step; see commit.
//   - Progress. That something is not lost does not say that it is served: the
//     simulation and the end-to-end tests do.
//
// What the bounds leave out the model does not show. That longer runs find nothing
// new in it either is what KARST_TEST_MODEL=long is for.
package model
