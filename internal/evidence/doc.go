// Package evidence makes the wardens' journals tamper-evident, and checks them.
//
// A journal is a stream of JSON objects, one per line. Every entry carries its number and the SHA-256 of the line before
// it, so no entry can be changed, removed, inserted or moved without breaking the chain behind it:
//
//	{…,"warden":"dr/10.1.2.3","sequence":42,"previous":"<hex of the hash of line 41>"}
//
// A chain alone does not show that its end was cut off. So a warden writes the head of its journal (its name, the
// number and the hash of the last entry) into the term record with every change of hands, and into its beacon; and every
// warden of both sites journals the head that the record carried. One journal is thus witnessed by the others: [Verify]
// looks in all of them for what they say of each.
//
// # What it does not show
//
// The journals are no secret and are not signed: who rewrites the journals of all wardens of both sites and the record has
// rewritten history. Two entries that were written between two changes of hands can be cut off the end of all journals.
// Ship them to a store that cannot be overwritten.
//
// The chain goes on over a restart through a small file. It is written before the entry it stands for, so a process that is
// killed between the two loses one entry right before "warden started"; that is reported, and is no break.
//
// That file may be on a file system that hangs or fails, and the journal goes on all the same. While the file is behind, every
// entry says so ("head_not_kept"), and a process that starts meanwhile goes on from an older entry; one that could not read
// the file begins anew, says so ("head_not_read"), and counts from a number that no entry had before. Either leaves a [Gap]:
// nothing stands on the entries right before it, so they are worth what others bear witness of. Like the end of a journal they
// can be cut short, or invented, behind the newest one that is witnessed; the gap names that one. What is witnessed and not
// there is a break, in a gap as anywhere.
package evidence
