package metadata

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/karst-io/karst"
	pb "github.com/karst-io/karst/internal/metadata/metadatapb"
	"github.com/karst-io/karst/internal/store"
	"github.com/karst-io/karst/internal/store/object"
	"github.com/karst-io/karst/internal/store/objlog"
)

const (
	clusterName    = "cluster"
	snapshotPrefix = "meta/snapshot/"
	logPrefix      = "meta/log/"

	clusterVersion = 1
	claimVersion   = 1
	// bucketFormat is the format of the bucket this version writes, and the
	// highest one it reads.
	bucketFormat = 1

	// CommitMax bounds the payload of one commit, in bytes.
	CommitMax = 64 << 20
	// snapshotMax bounds the payload of a snapshot, in bytes.
	snapshotMax = 8 << 30
)

// Cluster is a bucket's cluster.
type Cluster struct {
	ID karst.ClusterID
	// Secret is known to those who can read the bucket, and to nobody else.
	Secret [16]byte
}

// OpenCluster is the id of OpenBucket.
func OpenCluster(ctx context.Context, st objlog.Store) (karst.ClusterID, error) {
	c, err := OpenBucket(ctx, st)
	return c.ID, err
}

// OpenBucket reads the cluster object, or creates it in an empty bucket. Of
// several that create it at once, all return what the winner wrote. The secret is
// the object's nonce, which is in no message.
func OpenBucket(ctx context.Context, st objlog.Store) (Cluster, error) {
	h, payload, err := objlog.Read(ctx, st, clusterName, objlog.NamedMax)
	if errors.Is(err, store.ErrNotFound) {
		fresh := object.Header{Kind: object.Cluster, Version: clusterVersion, Nonce: object.NewNonce()}
		rand.Read(fresh.Cluster[:]) // never fails
		h, payload, _, err = objlog.CreateNamed(ctx, st, clusterName, fresh, marshal(&pb.ClusterInfo{Format: bucketFormat}))
	}
	return decodeCluster(h, payload, err)
}

// ReadBucket is OpenBucket of a bucket that has a cluster; otherwise
// store.ErrNotFound.
func ReadBucket(ctx context.Context, st store.Reader) (Cluster, error) {
	return decodeCluster(objlog.Read(ctx, st, clusterName, objlog.NamedMax))
}

func decodeCluster(h object.Header, payload []byte, err error) (Cluster, error) {
	if err != nil {
		return Cluster{}, fmt.Errorf("open cluster: %w", err)
	}
	var info pb.ClusterInfo
	if h.Kind != object.Cluster || h.Version != clusterVersion || proto.Unmarshal(payload, &info) != nil {
		return Cluster{}, &karst.CorruptError{Object: clusterName, Reason: "not a cluster object of a version this Karst knows"}
	}
	if info.Format == 0 || info.Format > bucketFormat {
		return Cluster{}, fmt.Errorf("open cluster: the bucket has format %d, and this Karst reads up to %d: run a newer Karst", info.Format, bucketFormat)
	}
	return Cluster{ID: h.Cluster, Secret: h.Nonce}, nil
}

// walMark is in every store that holds WALs apart from the data.
const walMark = "wal/cluster"

// MarkWAL makes sure that a store of WALs is marked as the cluster's. One that is
// unused, so that no incarnation was ever registered with it, is marked if it is
// not yet.
func MarkWAL(ctx context.Context, st objlog.Store, cluster karst.ClusterID, unused bool) error {
	h, _, err := objlog.Read(ctx, st, walMark, objlog.NamedMax)
	if errors.Is(err, store.ErrNotFound) && unused {
		fresh := object.Header{Kind: object.Cluster, Version: clusterVersion, Cluster: cluster, Nonce: object.NewNonce()}
		h, _, _, err = objlog.CreateNamed(ctx, st, walMark, fresh, marshal(&pb.ClusterInfo{Format: bucketFormat}))
	}
	switch {
	case errors.Is(err, store.ErrNotFound):
		return fmt.Errorf("%s is not there, so this is not the store that write-ahead logs were written to: is it mounted?", walMark)
	case err != nil:
		return err
	case h.Kind != object.Cluster || h.Version != clusterVersion:
		return &karst.CorruptError{Object: walMark, Reason: "not a cluster object of a version this Karst knows"}
	case h.Cluster != cluster:
		return fmt.Errorf("it holds the write-ahead logs of cluster %s, this is cluster %s", h.Cluster, cluster)
	}
	return nil
}

func marshal(m proto.Message) []byte {
	b, err := deterministic.Marshal(m)
	if err != nil {
		panic("BUG: message does not encode: " + err.Error())
	}
	return b
}

// Claim is the claim of a term: who, and where the term before ended.
type Claim struct {
	End    karst.Number // number of the tombstone of the term before; 1 for term 1
	Check  uint32       // checksum of the last commit before it
	Broker karst.BrokerID
	Host   string // for people
	// Peer is where the controller answers other brokers, Process which one it is.
	Peer    string
	Process ProcessID
}

func claimName(k karst.Term) string { return fmt.Sprintf("meta/term/%020d", uint64(k)) }

// CreateClaim tries to create the claim of term k and reports whether it is
// ours.
func CreateClaim(ctx context.Context, st objlog.Store, cluster karst.ClusterID, k karst.Term, c Claim) (bool, error) {
	h := object.Header{
		Kind: object.Claim, Version: claimVersion, Cluster: cluster,
		Writer: uint64(k), Number: uint64(k), Nonce: object.NewNonce(),
	}
	payload := marshal(&pb.Claim{End: uint64(c.End), Check: c.Check, Broker: int32(c.Broker), Host: c.Host, Peer: c.Peer, Process: c.Process[:]})
	_, _, ours, err := objlog.CreateNamed(ctx, st, claimName(k), h, payload)
	return ours, err
}

// readClaim reads the claim of term k; store.ErrNotFound if there is none.
func readClaim(ctx context.Context, st store.Reader, cluster karst.ClusterID, k karst.Term) (Claim, error) {
	name := claimName(k)
	h, payload, err := objlog.Read(ctx, st, name, objlog.NamedMax)
	if err != nil {
		return Claim{}, err
	}
	if h.Kind != object.Claim || h.Version != claimVersion || h.Cluster != cluster || h.Writer != uint64(k) {
		return Claim{}, &karst.CorruptError{Object: name, Reason: "not the claim of this term"}
	}
	return decodeClaim(name, payload)
}

func decodeClaim(name string, payload []byte) (Claim, error) {
	var m pb.Claim
	if err := proto.Unmarshal(payload, &m); err != nil {
		return Claim{}, &karst.CorruptError{Object: name, Offset: object.HeaderSize, Reason: err.Error()}
	}
	process, err := decodeProcess(m.Process)
	if err != nil {
		return Claim{}, &karst.CorruptError{Object: name, Offset: object.HeaderSize, Reason: err.Error()}
	}
	return Claim{End: karst.Number(m.End), Check: m.Check, Broker: karst.BrokerID(m.Broker), Host: m.Host, Peer: m.Peer, Process: process}, nil
}

// TermLog is the log of term k.
func TermLog(st objlog.Store, cluster karst.ClusterID, k karst.Term) *objlog.Log {
	return &objlog.Log{Store: st, Folder: fmt.Sprintf("%s%020d", logPrefix, uint64(k)), Cluster: cluster, Writer: uint64(k)}
}

// parseCommitName is the position of an object below meta/log/.
func parseCommitName(name string) (Position, bool) {
	return parsePosition(strings.TrimPrefix(name, logPrefix), '/')
}

func snapshotName(p Position) string {
	return fmt.Sprintf("%s%020d-%020d", snapshotPrefix, uint64(p.Term), uint64(p.Number))
}

// parseSnapshotName is the position of a snapshot.
func parseSnapshotName(name string) (Position, bool) {
	return parsePosition(strings.TrimPrefix(name, snapshotPrefix), '-')
}

func parsePosition(s string, separator byte) (Position, bool) {
	const digits = 20
	if len(s) != 2*digits+1 || s[digits] != separator {
		return Position{}, false
	}
	k, ok1 := parseDigits(s[:digits])
	n, ok2 := parseDigits(s[digits+1:])
	return Position{Term: karst.Term(k), Number: karst.Number(n)}, ok1 && ok2
}

func parseDigits(s string) (uint64, bool) {
	var n uint64
	for _, c := range []byte(s) {
		d := uint64(c - '0')
		if c < '0' || c > '9' || n > (1<<64-1-d)/10 {
			return 0, false
		}
		n = 10*n + d
	}
	return n, true
}
