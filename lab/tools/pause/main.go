// Command pause does nothing until it is told to end. It holds the namespaces of a pod, and as process 1 those of
// a node; there the kernel reaps what it inherits, since it ignores SIGCHLD.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	signal.Ignore(syscall.SIGCHLD)
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGINT, syscall.SIGTERM)
	<-end
}
