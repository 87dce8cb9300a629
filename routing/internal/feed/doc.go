// Package feed keeps the last changes of a directory that lives in this process
// in memory, and hands them to any number of watchers, from a revision on.
//
// It stores nothing and decides no revision: the directory does, and appends what
// it has made durable.
//
// Start with Log.
package feed
