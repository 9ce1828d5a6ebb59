// Package archtest holds the laws of the tree as tests: which package may
// import which, who may create and delete objects, that every package says in
// one comment what it is.
package archtest
