// Package tidy holds the tests that police the repository: package docs, import boundaries, the length of functions,
// waiting in tests, documents. It has no code of its own.
package tidy
