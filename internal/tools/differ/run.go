package differ

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	retryPause = 20 * time.Millisecond
	retryMax   = 15 * time.Second
)

// Answer is what a broker answered to one request of a script.
type Answer struct {
	At    string // section of the script, and place in it
	API   string
	Round int16 // the version, or $v
	JSON  string
	line  int
}

// run is a script being run.
type run struct {
	ctx     context.Context //nolint:containedctx // a run is one call
	addr    string
	env     *env
	conns   map[string]*conn
	clients map[string]string
	calls   map[string]*call
	round   int16
	inside  bool // of "each"
	answers []Answer
}

// Run runs a script against the broker at addr. With an error come the answers
// until then.
func (s *Script) Run(ctx context.Context, addr string) ([]Answer, error) {
	r := &run{ctx: ctx, addr: addr, env: newEnv(), conns: map[string]*conn{}, clients: map[string]string{}, calls: map[string]*call{}}
	defer func() {
		for _, c := range r.conns {
			c.Close()
		}
	}()
	r.env.vars["v"] = int64(0)
	err := r.steps(s.Name, s.steps)
	return r.answers, err
}

func (r *run) steps(name string, steps []*step) error {
	for _, s := range steps {
		if err := r.step(s); err != nil {
			if len(s.block) > 0 {
				return err
			}
			return fmt.Errorf("%s:%d: round %d: %w", name, s.line, r.round, err)
		}
		if s.verb == "each" {
			r.inside = true
			if err := r.each(s.version, func() error { return r.steps(name, s.block) }); err != nil {
				return err
			}
			r.inside = false
		}
	}
	return nil
}

// each does something for every version. The names of opaque values that come up
// in one round are those of the last one afterwards.
func (r *run) each(v versions, do func() error) error {
	before := cloneOpaque(r.env.opaque)
	outer := r.round
	for n := v.low; n <= v.high; n++ {
		r.env.round(int64(n), before)
		r.round = n
		if err := do(); err != nil {
			return err
		}
	}
	r.round = outer
	return nil
}

func (r *run) step(s *step) error {
	switch s.verb {
	case "client":
		r.clients[s.conn] = s.text
	case "close":
		r.drop(s.conn)
	case "sleep":
		return r.sleep(s.pause)
	case "batch":
		b, err := s.batch.build(r.env)
		if err != nil {
			return err
		}
		r.env.vars[s.name] = b
	case "raw":
		return r.raw(s)
	case "await":
		return r.await(s.name)
	case "send", "start", "quiet":
		if !s.version.variable && s.version.low != s.version.high {
			return r.each(s.version, func() error { return r.request(s, r.round) })
		}
		version := s.version.low
		if s.version.variable {
			version = min(max(r.round, s.version.low), s.version.high)
		}
		if !r.inside {
			r.round = version
		}
		return r.request(s, version)
	}
	return nil
}

func (r *run) sleep(d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-r.ctx.Done():
		return r.ctx.Err()
	}
}

// connection is the named connection, opened if need be.
func (r *run) connection(name string) (*conn, error) {
	if c := r.conns[name]; c != nil {
		return c, nil
	}
	c, err := dial(r.ctx, r.addr)
	if err == nil {
		r.conns[name] = c
	}
	return c, err
}

func (r *run) drop(name string) {
	if c := r.conns[name]; c != nil {
		c.Close()
		delete(r.conns, name)
	}
}

func (r *run) raw(s *step) error {
	c, err := r.connection(s.conn)
	if err != nil {
		return err
	}
	if _, err := c.Write(s.bytes); err != nil {
		return err
	}
	what, err := c.silent()
	if err != nil {
		return err
	}
	r.drop(s.conn)
	r.record(s, what)
	return nil
}

// request sends a request, and waits for its answer unless it is only started.
func (r *run) request(s *step, version int16) error {
	for deadline := time.Now().Add(retryMax); ; {
		k, err := r.issue(s, version)
		if err != nil {
			return err
		}
		if s.verb == "start" {
			r.calls[s.name] = k
			return nil
		}
		if s.verb == "quiet" {
			return r.quiet(s)
		}
		if err := r.conns[s.conn].wait(k); err != nil {
			return err
		}
		met, err := r.met(s, k.answer)
		if err != nil && time.Now().After(deadline) {
			return err
		}
		if met {
			return r.answered(k)
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("does not become true within %v; the last answer is %s", retryMax, short(k.answer))
		}
		if err := r.sleep(retryPause); err != nil {
			return err
		}
	}
}

// issue writes a request.
func (r *run) issue(s *step, version int16) (*call, error) {
	c, err := r.connection(s.conn)
	if err != nil {
		return nil, err
	}
	req := kmsg.RequestForKey(s.key)
	req.SetVersion(version)
	if err := fill(valueOf(req), s.body, r.env); err != nil {
		return nil, err
	}
	client := "differ"
	if name, ok := r.clients[s.conn]; ok {
		client = name
	}
	c.next++
	f := newFrame(req, client, c.next)
	for _, how := range s.mutate {
		how = slices.Clone(how)
		for i, h := range how {
			v, err := r.env.expand(h)
			if err != nil {
				return nil, err
			}
			how[i] = fmt.Sprint(v)
		}
		if err := f.spoil(how); err != nil {
			return nil, err
		}
	}
	k := &call{step: s, round: r.round}
	if s.verb != "quiet" {
		k.response = req.ResponseKind()
		k.response.SetVersion(version)
	}
	return k, c.request(f, k)
}

// quiet records what becomes of the connection after a request without answer: it
// is open if a request that follows is answered.
func (r *run) quiet(s *step) error {
	c := r.conns[s.conn]
	probe := kmsg.NewPtrApiVersionsRequest()
	c.next++
	k := &call{step: s, response: probe.ResponseKind()}
	if err := c.request(newFrame(probe, "differ", c.next), k); err != nil {
		return err
	}
	if err := c.wait(k); err != nil {
		return err
	}
	what := "open"
	if k.answer == "closed" {
		what = "closed"
		r.drop(s.conn)
	}
	r.record(s, what)
	return nil
}

// await waits for a request that was started.
func (r *run) await(name string) error {
	k := r.calls[name]
	if k == nil {
		return fmt.Errorf("%s was not started", name)
	}
	delete(r.calls, name)
	c := r.conns[k.step.conn]
	if c == nil {
		return errors.New("its connection is closed")
	}
	if err := c.wait(k); err != nil {
		return err
	}
	return r.answered(k)
}

// met reports whether the answer is the one to wait for.
func (r *run) met(s *step, answer any) (bool, error) {
	for _, c := range s.until {
		got, err := at(answer, c.path)
		if err != nil {
			return false, err
		}
		want, err := r.env.expand(c.value)
		if err != nil {
			return false, err
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			return false, nil
		}
	}
	return true, nil
}

// answered takes what the script wants of an answer, and records it.
func (r *run) answered(k *call) error {
	s := k.step
	if k.answer == "closed" || k.answer == "silence" {
		r.drop(s.conn)
	}
	for _, c := range s.captures {
		v, err := at(k.answer, c.path)
		if err != nil {
			return fmt.Errorf("%w in %s", err, short(k.answer))
		}
		r.env.vars[c.name] = v
	}
	outer := r.round
	r.round = k.round
	r.record(s, k.answer)
	r.round = outer
	return nil
}

func (r *run) record(s *step, answer any) {
	n := normaliser{env: r.env, step: s, now: time.Now().UnixMilli()}
	r.answers = append(r.answers, Answer{s.at, s.api, r.round, short(n.tree(answer)), s.line})
}
