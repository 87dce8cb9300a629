// Command benchplacement measures remembered placement: a hit and a miss, creates on bbolt and on etcd, what keys in memory
// cost, how fast a watch reaches ten gateways, and what a directory with many keys costs at the start. It prints one table.
// `make bench-placement` runs it. Start reading with run in main.go.
package main
