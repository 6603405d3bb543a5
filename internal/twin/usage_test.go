package twin

import (
	"os"
	"os/exec"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	line := "42 (post) gres: (x) S 7 42 42 0 -1 4194304 1 2 3 4 100 20 3 2 20 0 1 0 5000 1000000 256 18446744073709551615 1 1 0 0 0 0 0\n"
	p, ok := parseStat([]byte(line))
	if !ok || p.parent != 7 || p.cpu != 1250*time.Millisecond || p.rss != 256*int64(os.Getpagesize()) {
		t.Errorf("parseStat = %+v, %v", p, ok)
	}
	for _, broken := range []string{"", "42 (x", "42 (x) S 7"} {
		if p, ok := parseStat([]byte(broken)); ok {
			t.Errorf("parseStat(%q) = %+v", broken, p)
		}
	}
}

func TestUsageGoesToTheNearestOwner(t *testing.T) {
	const root = 1000
	before := map[int]process{root: {parent: 1, cpu: time.Second}, 1001: {parent: root, cpu: time.Second}, 1002: {parent: 1001}}
	after := map[int]process{
		root: {parent: 1, rss: 1, cpu: 1100 * time.Millisecond}, 1001: {parent: root, rss: 10, cpu: time.Second},
		1002: {parent: 1001, rss: 100, cpu: 500 * time.Millisecond},  // a child of an owner
		1003: {parent: root, rss: 1000, cpu: 200 * time.Millisecond}, // nobody's, and new
		1004: {parent: 1005, rss: 10000},                             // its parent ended in between
	}
	got := usageByOwner(before, after, time.Second, root, map[int]bool{1001: true})
	if u := got[1001]; u.Processes != 2 || u.RSSBytes != 110 || u.Cores != 0.5 {
		t.Errorf("the owner's usage = %+v", u)
	}
	if u := got[root]; u.Processes != 3 || u.RSSBytes != 11001 || u.Cores < 0.29 || u.Cores > 0.31 {
		t.Errorf("the root's usage = %+v", u)
	}
}

// TestProcessTree looks at this test's own processes.
func TestProcessTree(t *testing.T) {
	cmd := exec.Command("cat")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stdin.Close(); _ = cmd.Wait() }()
	tree, err := processTree(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if tree[cmd.Process.Pid].parent != os.Getpid() || tree[os.Getpid()].rss == 0 {
		t.Errorf("the tree lacks this process or its child: %v", tree)
	}
	if _, ok := tree[os.Getppid()]; ok {
		t.Error("the tree has this process's parent")
	}
	if share, ok := proportional(os.Getpid()); ok && (share <= 0 || share > tree[os.Getpid()].rss*2) {
		t.Errorf("this process's share of memory is %d of %d bytes", share, tree[os.Getpid()].rss)
	}
}
