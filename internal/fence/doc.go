// Package fence is the database's own refusal to commit ledger writes past the trust deadline (P7-P10): the schema
// "holdfast" with its lease row, its list of terms, and a deferred constraint trigger on the protected tables.
package fence
