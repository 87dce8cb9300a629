// Package claims holds documents to naming tests, fuzz targets and Makefile targets that exist. Whether those show what the
// sentence says it cannot know. It has tests alone.
package claims
