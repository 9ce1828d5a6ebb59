package partition

import "github.com/karst-io/karst/internal/store"

// ReadMemory is Read as far as the tail in memory goes. cold says that segments
// have the answer: then r has the watermarks and no bytes.
func (p *Partition) ReadMemory(q ReadRequest) (r *Read, cold bool, err error) {
	r, state, err := p.readMemory(q)
	if r != nil {
		p.traffic.read(r.Size)
	}
	return r, state != nil, err
}

// Hold makes r release h with its bytes.
func (r *Read) Hold(h store.Holder) { r.holds = append(r.holds, h) }
