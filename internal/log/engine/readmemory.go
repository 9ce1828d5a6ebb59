package engine

import "github.com/karst-io/karst"

// ReadMemory is Read as far as the tail cache goes; it never waits. cold says
// that segments have the answer: then r has the watermarks and no bytes.
func (e *Engine) ReadMemory(tp karst.TopicPartition, r ReadRequest) (read *Read, cold bool, err error) {
	p, err := e.lead(tp)
	if err != nil {
		return nil, false, err
	}
	return p.ReadMemory(r)
}
