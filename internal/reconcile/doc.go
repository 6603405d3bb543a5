// Package reconcile saves the lost tail: what an old active site's database committed and the surviving one never got
// (P20, P22). [ExportTail] compares the two databases' protected tables and writes the difference to a folder, which is
// complete or not there at all, so that the old volume may be rebuilt as a secondary afterwards.
//
// The folder holds a manifest.json and one file of JSON lines per table. A line has the row's key, the row as the old
// database has it, and, if the key is in the surviving database with other contents, that row as well:
//
//	{"table":"public.payments","kind":"missing","key":{"id":"…"},"old":{…}}
//	{"table":"public.payments","kind":"different","key":{"id":"…"},"old":{…},"survivor":{…}}
//
// "different" is not "lost": the survivor may have moved a row on since (a balance, a payment that a recovery worker
// finished). Both sides are exported so that a person can tell.
package reconcile
