// Package languages keeps the Chinese documents in step with the English ones: the same headings' levels, the same code, the
// same tables' sizes, and links that lead somewhere. What the sentences say it cannot know.
// It has tests alone; start reading with languages_test.go.
package languages
