package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"holdfast/internal/pgserver"
)

// backupLimit bounds one base backup.
const backupLimit = 10 * time.Minute

// minimumFree is the room, in bytes, that the twin's volumes need at the least.
const minimumFree = 512 << 20

// prepareDir makes the folders and says in one sentence what is wrong with the place, if something is.
func (a *Aurora) prepareDir() error {
	in := a.opt.Installation
	for _, dir := range []string{a.opt.Dir, a.path("log"), a.path("tls"), a.path("volumes"), a.path("snapshots")} {
		if err := in.MakeDir(dir); err != nil {
			return fmt.Errorf("folder %s cannot be written: %w", dir, err)
		}
	}
	if in.Credential != nil {
		for dir := filepath.Dir(a.opt.Dir); dir != "/"; dir = filepath.Dir(dir) {
			if !mayEnter(dir, in.Credential) {
				return fmt.Errorf("PostgreSQL's user (uid %d) may not enter %s, so it cannot use %s: choose a folder below /tmp or "+
					"/var/tmp, or run without root", in.Credential.Uid, dir, a.opt.Dir)
			}
		}
	}
	var disk syscall.Statfs_t
	if err := syscall.Statfs(a.opt.Dir, &disk); err != nil {
		return fmt.Errorf("folder %s: %w", a.opt.Dir, err)
	}
	if free := disk.Bavail * uint64(disk.Bsize); free < minimumFree {
		return fmt.Errorf("the disk of %s has %d MB left and the databases need at least %d MB: free some space or choose "+
			"another folder", a.opt.Dir, free>>20, minimumFree>>20)
	}
	return nil
}

func mayEnter(dir string, user *syscall.Credential) bool {
	info, err := os.Stat(dir)
	if err != nil {
		return false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return true
	}
	switch {
	case stat.Uid == user.Uid:
		return stat.Mode&0o100 != 0
	case stat.Gid == user.Gid:
		return stat.Mode&0o010 != 0
	}
	return stat.Mode&0o001 != 0
}

func (a *Aurora) path(parts ...string) string {
	return filepath.Join(append([]string{a.opt.Dir}, parts...)...)
}

// newVolume names a folder for a volume that does not exist yet. Names are never used twice: a folder that is still
// being removed must not become a new volume's.
func (a *Aurora) newVolume(in *instance) string {
	for n := 1; ; n++ {
		path := a.path("volumes", in.spec.Identifier+"-"+strconv.Itoa(n))
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			return path
		}
	}
}

// spareFork matches the free-space and visibility maps of relations. PostgreSQL makes missing ones anew; on a small volume
// they are a quarter of the files, and it is the number of files that a copy takes its time for.
var spareFork = regexp.MustCompile(`^[0-9]+_(fsm|vm)$`)

// copyVolume copies the volume of a server that does not run, without what PostgreSQL makes anew.
func (a *Aurora) copyVolume(ctx context.Context, from, to string) error {
	err := filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		target := filepath.Join(to, strings.TrimPrefix(path, from))
		if entry.IsDir() {
			return a.opt.Installation.MakeDir(target)
		}
		if !entry.Type().IsRegular() || entry.Name() == "postmaster.pid" || spareFork.MatchString(entry.Name()) {
			return nil
		}
		if err := copyFile(path, target); err != nil {
			return err
		}
		return a.opt.Installation.Own(target)
	})
	if err != nil {
		return fmt.Errorf("copy volume %s to %s: %w%s", from, to, err, diskHint(err))
	}
	return nil
}

func copyFile(from, to string) (err error) {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dst.Close()) }()
	_, err = io.Copy(dst, src)
	return err
}

func diskHint(err error) string {
	if errors.Is(err, syscall.ENOSPC) {
		return " (the disk is full: free some space, or choose a folder on another disk)"
	}
	return ""
}

// backup makes a new volume by a base backup over a connection, as a program of the Region: losing the Region kills it.
func (a *Aurora) backup(ctx context.Context, r *region, conninfo, volume string) error {
	ctx, cancel := context.WithTimeout(ctx, backupLimit)
	defer cancel()
	cmd := a.opt.Installation.Command(ctx, a.opt.Dir, "pg_basebackup", "-d", conninfo, "-D", volume, "-c", "fast", "-X", "stream",
		"--no-sync", "--no-manifest", "--no-password")
	group := 0
	_, err := pgserver.RunCommand(cmd, func(id int) {
		group = id
		a.mu.Lock()
		defer a.mu.Unlock()
		r.programs[id] = struct{}{}
		switch {
		case !r.up:
			_ = syscall.Kill(-id, syscall.SIGKILL)
		case r.frozen:
			_ = syscall.Kill(-id, syscall.SIGSTOP)
		}
	})
	a.set(func() { delete(r.programs, group) })
	if err != nil {
		return errors.Join(fmt.Errorf("base backup: %w", err), os.RemoveAll(volume))
	}
	return nil
}
