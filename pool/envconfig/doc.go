// Package envconfig makes a pool.Config of environment variables and of a
// mounted file or ConfigMap, whose values win, and keeps a running pool at what
// the file says.
//
// It has no setting of its own and judges none: pool.Config.Validate does, and
// what it says is put in terms of variables. docs/config/enclave-config.md
// describes every variable.
//
// Start with FromFile and Watch; variables.go is the table of names.
package envconfig
