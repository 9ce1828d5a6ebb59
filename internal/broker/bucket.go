package broker

import (
	"context"
	"fmt"
	"log/slog"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/config"
	"github.com/karst-io/karst/internal/log/reap"
	"github.com/karst-io/karst/internal/metadata"
	"github.com/karst-io/karst/internal/store"
	"github.com/karst-io/karst/internal/store/hedge"
	"github.com/karst-io/karst/internal/store/limit"
	"github.com/karst-io/karst/internal/store/meter"
	"github.com/karst-io/karst/internal/store/open"
	"github.com/karst-io/karst/internal/store/retry"
	"github.com/karst-io/karst/internal/store/route"
)

// layered is one store with what every request goes through: queued by urgency,
// retried, hedged; each attempt is counted. The queue is outermost, so that
// waiting in it does not look like a slow store to the hedger.
type layered struct {
	store.Store
	driver store.Store // bare, for the probe
	meter  *meter.Store
	hedge  *hedge.Store // nil on a local store
}

func layer(driver store.Store, cfg config.Config, log *slog.Logger) *layered {
	c := &complaints{store: driver.String(), log: log}
	l := &layered{driver: driver, meter: meter.New(driver, c.failed)}
	l.Store = l.meter
	if !local(driver) { // a second attempt on the same disk only makes both slower
		l.hedge = hedge.New(l.Store, hedge.Config{})
		l.Store = l.hedge
	}
	r := retry.New(l.Store, retry.Config{Timeout: cfg.StoreTimeout})
	l.Store = limit.New(r, limit.Config{Concurrency: cfg.StoreConcurrency})
	return l
}

// complaints are lines about requests that fail, one in complainEvery at most:
// whoever retries them does so without a word.
type complaints struct {
	store string
	log   *slog.Logger
	next  atomic.Int64 // Unix time, s
	left  atomic.Int64 // requests that failed since the last line
}

const complainEvery = 10 // s

func (c *complaints) failed(op store.Op, caller store.Caller, err error) {
	left := c.left.Add(1)
	now, next := time.Now().Unix(), c.next.Load()
	if now < next || !c.next.CompareAndSwap(next, now+complainEvery) {
		return
	}
	c.left.Add(-left)
	c.log.Warn("the store fails, requests are tried again", "store", c.store, "requests", left, "one", op.String(), "for", caller.String(), "err", err)
}

// local reports whether a store is on this machine, where requests cost nothing
// but the disk's time.
func local(s store.Store) bool {
	u := s.String()
	return strings.HasPrefix(u, "file:") || strings.HasPrefix(u, "mem:")
}

// OpenStore opens a driver by URL. Tests put a store that fails in between.
type OpenStore func(ctx context.Context, url string) (store.Store, error)

// bucket is all stores of one broker: the data, and the write-ahead logs, which
// may lie elsewhere.
type bucket struct {
	store.Store // routes by name
	data        *layered
	wals        *wals
}

// openBucket opens and layers the configured stores.
func openBucket(ctx context.Context, cfg config.Config, opener OpenStore, log *slog.Logger) (*bucket, error) {
	driver, err := opener(ctx, cfg.Store)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	data := layer(driver, cfg, log)
	w := &wals{cfg: cfg, log: log, opener: opener, data: data, by: map[string]*layered{driver.String(): data}}
	w.own = driver.String()
	if cfg.WAL != "" {
		driver, err := opener(ctx, cfg.WAL)
		if err != nil {
			_ = data.Close()
			return nil, fmt.Errorf("wal: %w", err)
		}
		w.own = driver.String()
		if _, same := w.by[w.own]; !same {
			w.by[w.own] = layer(driver, cfg, log)
		}
	}
	return &bucket{Store: route.New(data, "wal/", w), data: data, wals: w}, nil
}

// local reports whether the WAL's store is on this machine, where uploads need
// no grouping in time and gain nothing from overlapping.
func (b *bucket) local() bool { return local(b.wals.by[b.wals.own].driver) }

// walURL is what registration records: "" when the WAL shares the data's store.
func (b *bucket) walURL() string {
	if b.wals.by[b.wals.own] == b.data {
		return ""
	}
	return b.wals.own
}

// meters are the meters of all stores, by URL.
func (b *bucket) meters() map[string]*meter.Store {
	b.wals.mu.Lock()
	defer b.wals.mu.Unlock()
	all := make(map[string]*meter.Store, len(b.wals.by))
	for url, l := range b.wals.by {
		all[url] = l.meter
	}
	return all
}

// openTimeout bounds opening the WAL store of another incarnation.
const openTimeout = 30 * time.Second

// wals knows in which store the WAL of an incarnation lies.
type wals struct {
	cfg    config.Config
	log    *slog.Logger
	opener OpenStore
	data   *layered
	own    string // URL of this process's

	mu    sync.Mutex
	by    map[string]*layered // by URL
	image func() *metadata.Image
}

// Of is the store of a WAL object's name: wal/<incarnation>/<number>.
func (w *wals) Of(name string) (store.Store, error) {
	folder, _, _ := strings.Cut(strings.TrimPrefix(name, "wal/"), "/")
	inc, err := strconv.ParseUint(folder, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("name %q is not of a WAL object", name)
	}
	return w.storeOf(karst.Incarnation(inc))
}

func (w *wals) storeOf(inc karst.Incarnation) (store.Store, error) {
	l, url, cluster := w.find(inc)
	if l != nil {
		return l, nil
	}
	// Another broker has registered since with a store of its own.
	if err := w.join(context.Background(), url, cluster, false); err != nil {
		return nil, fmt.Errorf("WAL store %s of incarnation %d cannot be used: %w", url, inc, err)
	}
	return w.at(url), nil
}

// find is the store of an incarnation's WAL; nil if it is not open.
func (w *wals) find(inc karst.Incarnation) (l *layered, url string, cluster karst.ClusterID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	url = w.own // an incarnation that the image does not know yet is our own
	if w.image != nil {
		img := w.image()
		cluster = img.Cluster()
		if b, ok := img.Broker(inc); ok {
			if b.WALURL == "" {
				return w.data, url, cluster
			}
			url = b.WALURL
		}
	}
	return w.by[url], url, cluster
}

// follow lets the stores of WALs be found in the image, and opens those that
// the image names. Each must be marked as the cluster's: a folder that is not
// mounted, or a bucket that was made anew, looks like a WAL that has ended, and
// sealing it would give up what was acknowledged. Nothing is served without the
// store of a WAL that was not adopted, nor on another one in the place of our own.
func (w *wals) follow(ctx context.Context, image func() *metadata.Image) error {
	w.mu.Lock()
	w.image = image
	w.mu.Unlock()
	img := image()
	needed := map[string]*metadata.BrokerState{} // by URL
	for b := range img.Brokers() {
		if n := needed[b.WALURL]; b.WALURL != "" && (n == nil || n.Phase == metadata.Adopted) {
			needed[b.WALURL] = b
		}
	}
	for url, b := range needed {
		err := w.join(ctx, url, img.Cluster(), false)
		switch {
		case err == nil:
		case b.Phase == metadata.Adopted && url != w.own:
			w.log.Warn("a store that held write-ahead logs cannot be used; what still lies there cannot be read", "store", url, "err", err)
		default:
			return fmt.Errorf("the write-ahead log of broker %d (incarnation %d) is at %s, which cannot be used: %w", b.ID, b.Incarnation, url, err)
		}
	}
	if w.at(w.own) == w.data || needed[w.own] != nil {
		return nil
	}
	if err := w.join(ctx, w.own, img.Cluster(), true); err != nil {
		return fmt.Errorf("the write-ahead log at %s cannot be used: %w", w.own, err)
	}
	return nil
}

func (w *wals) at(url string) *layered {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.by[url]
}

// join opens a store, unless it is open, and looks for its mark. One that was
// never used may be marked.
func (w *wals) join(ctx context.Context, url string, cluster karst.ClusterID, unused bool) error {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	l := w.at(url)
	if l == nil {
		driver, err := w.opener(ctx, url)
		if err != nil {
			return err
		}
		l = layer(driver, w.cfg, w.log)
	}
	if err := metadata.MarkWAL(ctx, l, cluster, unused); err != nil {
		if w.at(url) == nil {
			_ = l.Close()
		}
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if other := w.by[url]; other != nil && other != l { // somebody else was faster
		return l.Close()
	}
	w.by[url] = l
	return nil
}

// reaped is the store of a registration's WAL URL, for the collector.
func (w *wals) reaped(url string) (reap.Bucket, bool) {
	if url == "" {
		return w.data, true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	l, ok := w.by[url]
	return l, ok
}

// drivers are the stores as they were opened.
func (w *wals) drivers() []store.Store {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := make([]store.Store, 0, len(w.by))
	for _, l := range w.by {
		all = append(all, l.driver)
	}
	return all
}

// All are the stores that hold WALs.
func (w *wals) All() []store.Store {
	w.mu.Lock()
	defer w.mu.Unlock()
	urls := make([]string, 0, len(w.by))
	for url := range w.by {
		urls = append(urls, url)
	}
	sort.Strings(urls)
	all := make([]store.Store, 0, len(urls))
	for _, url := range urls {
		all = append(all, w.by[url])
	}
	return all
}

// Close closes the stores that are not the data's.
func (w *wals) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	var first error
	for _, l := range w.by {
		if l == w.data {
			continue
		}
		if err := l.Close(); err != nil && first == nil {
			first = err
		}
	}
	return first
}

var _ OpenStore = open.Open
