// Package termtable is a DynamoDB global table with multi-Region strong consistency, held in memory: replicas in two
// regions and a witness in a third, one hash key "id", and the item operations of the DynamoDB API on it.
//
// A request arrives in one replica's region and is carried to the other regions. It takes effect at one instant, when
// the first other region has received it, because two of three regions are then a majority; the answer goes back by
// whichever region is the first to confirm. A region that is cut off from both others, or lost, therefore neither
// reads nor writes. A partition or a lost region between the two instants leaves the write in place and the client
// without an answer, which is the case that every user of such a table has to survive.
//
// All reads are strongly consistent here, also those that ask for less: a stronger answer is always allowed. Two
// regions that write the same item at the same time are treated as AWS does: one of them gets
// ReplicatedWriteConflictException and has to try again.
//
// Expressions follow the grammar of the DynamoDB developer guide, with its reserved words, its errors and their
// wording. The parameters that expressions have replaced (Expected, AttributeUpdates, KeyConditions, ...) are refused.
//
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/V2globaltables_HowItWorks.html
package termtable
