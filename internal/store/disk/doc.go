// Package disk is a bucket in a folder: file:///path. An object is a file of the
// object's name below the root; a create that returned nil survives a power cut.
//
// # How an object is created
//
//  1. Folders that are missing are made, and the parent of each is synced.
//  2. The body is written to a file without a name (O_TMPFILE), or with a name
//     in <root>/~tmp where the file system has no such files. Long bodies start
//     their write-back each MiB, so that step 3 has little left to wait for.
//  3. The file is synced.
//  4. link(2) gives it its name, or fails because the name is taken: the kernel
//     decides, between processes as well.
//  5. The folder is synced. One sync covers everybody in the folder who did step
//     4 before it began.
//
// Invariants, each of which a test with package powercut breaks in turn:
//
//   - A name never leads to bytes that are not durable: 3 comes before 4.
//   - Success is reported only after a folder sync that began after step 4, and
//     so is ErrExists: whoever is told that an object exists may build on it.
//   - A reader in this process does not see an object between 4 and 5.
//   - A folder whose sync failed once is never trusted again by this Store: a
//     kernel that dropped the pages reports success the next time.
//
// A reader in another process may see an object between 4 and 5. What it does
// next is either not durable or synced later, to the same journal on ext4 and
// XFS and to a server that commits each link on NFS, hence not before the link.
//
// Folders are never removed: a create would race with the removal, and there are
// few of them.
//
// # Rejected
//
//   - rename(2) with RENAME_NOREPLACE: unknown to NFS, and no faster.
//   - O_DSYNC instead of fsync: 15 % faster at 4 KiB but serial for many parts.
//   - A cache of open files: open and close cost 3 µs, and a file that was
//     deleted must stop being readable.
package disk
