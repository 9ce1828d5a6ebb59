package store

// Op is a kind of request, for decorators that treat or count kinds apart.
type Op uint8

// The kinds of request.
const (
	OpCreate Op = iota
	OpPut
	OpGet
	OpHead
	OpList
	OpDelete
	OpCount
)

func (o Op) String() string {
	return [...]string{"create", "put", "get", "head", "list", "delete"}[o]
}
