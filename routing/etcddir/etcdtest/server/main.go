// Command server is an unchanged etcd server, in a module of its own so that its
// version is pinned and nobody else depends on it. Package etcdtest builds it.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() { etcdmain.Main(os.Args) }
