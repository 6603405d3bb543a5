// Command holdfast is the warden in each region, and the tool on the desk.
package main

import (
	"os"

	"holdfast/internal/cli"
	"holdfast/internal/twin/task"
)

func main() {
	task.ReaperMain() // does not return if this process was started as a twin's reaper
	os.Exit(cli.Main(os.Args[1:], os.Stdout, os.Stderr))
}
