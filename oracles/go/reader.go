// Reads a log with the Go implementation of signed notes and transparency logs (golang.org/x/mod,
// sumdb/note and sumdb/tlog), which shares no code with ours.
//
//	reader URL VKEY COUNT
//
// Opens the checkpoint under VKEY, takes COUNT inclusion and COUNT consistency proofs out of the
// log's tiles, verifies each, and compares it hash by hash with what the log's own routes answer. The
// leaf hashes come from the bytes of the entries. Ends with 1 at the first difference.
package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/rand"
	"net/http"
	"os"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// The height of C2SP tiles: 256 hashes.
const height = 8

func fail(format string, values ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", values...)
	os.Exit(1)
}

func must[T any](value T, err error) T {
	if err != nil {
		fail("%v", err)
	}
	return value
}

type reader struct{ url string }

func (r reader) get(path string) []byte {
	answer := must(http.Get(r.url + "/" + path))
	defer answer.Body.Close()
	body := must(io.ReadAll(answer.Body))
	if answer.StatusCode != 200 {
		fail("%s: %s", path, answer.Status)
	}
	return body
}

// The path of a tile in C2SP tlog-tiles: as Go has it, without the height.
func tilePath(tile tlog.Tile) string {
	return strings.Replace(tile.Path(), fmt.Sprintf("tile/%d/", height), "tile/", 1)
}

func (r reader) Height() int { return height }

// ReadTiles is handed to sumdb/tlog, which checks every tile against the root.
func (r reader) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range tiles {
		all = append(all, r.get(tilePath(tile)))
	}
	return all, nil
}

func (r reader) SaveTiles([]tlog.Tile, [][]byte) {}

// A checkpoint under the log's key: C2SP tlog-checkpoint inside a signed note.
func (r reader) checkpoint(verifier note.Verifier) tlog.Tree {
	opened := must(note.Open(r.get("checkpoint"), note.VerifierList(verifier)))
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[0] != verifier.Name() || lines[3] != "" {
		fail("not a checkpoint of %s: %q", verifier.Name(), opened.Text)
	}
	size := must(strconv.ParseInt(lines[1], 10, 64))
	root := must(tlog.ParseHash(lines[2]))
	return tlog.Tree{N: size, Hash: root}
}

// The hashes that one of the log's proof routes answers with.
func (r reader) proof(path string) []tlog.Hash {
	var answer struct{ Hashes []string }
	if err := json.Unmarshal(r.get(path), &answer); err != nil {
		fail("%s: %v", path, err)
	}
	hashes := []tlog.Hash{}
	for _, text := range answer.Hashes {
		hash := tlog.Hash{}
		raw := must(base64.StdEncoding.DecodeString(text))
		if copy(hash[:], raw) != len(raw) || len(raw) != tlog.HashSize {
			fail("%s: a hash of %d bytes", path, len(raw))
		}
		hashes = append(hashes, hash)
	}
	return hashes
}

func same(path string, ours, theirs []tlog.Hash) {
	if len(ours) != len(theirs) {
		fail("%s: %d hashes and %d", path, len(ours), len(theirs))
	}
	for i := range ours {
		if !bytes.Equal(ours[i][:], theirs[i][:]) {
			fail("%s: hash %d differs", path, i)
		}
	}
}

func main() {
	if len(os.Args) != 4 {
		fail("usage: reader URL VKEY COUNT")
	}
	log := reader{os.Args[1]}
	verifier := must(note.NewVerifier(os.Args[2]))
	count := must(strconv.Atoi(os.Args[3]))
	tree := log.checkpoint(verifier)
	if tree.N < 2 {
		fail("a tree of %d entries has no proofs", tree.N)
	}
	hashes := tlog.TileHashReader(tree, log)
	random := rand.New(rand.NewSource(tree.N))
	for range make([]struct{}, count) {
		index := random.Int63n(tree.N)
		path := fmt.Sprintf("proof/inclusion/%d/%d", tree.N, index)
		record := must(tlog.ProveRecord(tree.N, index, hashes))
		same(path, record, log.proof(path))
		leaf := tlog.RecordHash(log.get(fmt.Sprintf("entry/%d", index)))
		if err := tlog.CheckRecord(record, tree.N, tree.Hash, index, leaf); err != nil {
			fail("%s: %v", path, err)
		}

		old := 1 + random.Int63n(tree.N-1)
		path = fmt.Sprintf("proof/consistency/%d/%d", old, tree.N)
		prefix := must(tlog.ProveTree(tree.N, old, hashes))
		same(path, prefix, log.proof(path))
		root := must(tlog.TreeHash(old, hashes))
		if err := tlog.CheckTree(prefix, tree.N, tree.Hash, old, root); err != nil {
			fail("%s: %v", path, err)
		}
	}
	fmt.Printf("%d entries, root %v: %d inclusion and %d consistency proofs agree\n",
		tree.N, tree.Hash, count, count)
}
