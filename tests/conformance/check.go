// Reads questions, one JSON object a line, and answers each with "ok" or "refused: <why>", by Go's own
// golang.org/x/mod/sumdb packages: note for signed notes, tlog for trees, proofs and tiles.
package main

import (
	"bufio"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type question struct {
	Op      string
	Note    []byte // standard base64, as encoding/json has it
	Key     string
	Witness []byte // the Ed25519 key of a witness
	Name    string
	Proof   [][]byte
	Size    int64
	Root    []byte
	Index   int64
	Entry   []byte
	OldSize int64
	OldRoot []byte
	Dir     string
	Leaves  [][]byte
}

// A witness's key as c2sp.org/tlog-cosignature has it: note takes any type that can verify.
type witness struct {
	name string
	key  ed25519.PublicKey
}

func (w witness) Name() string { return w.name }

func (w witness) KeyHash() uint32 {
	sum := sha256.Sum256(append([]byte(w.name+"\n\x04"), w.key...))
	return binary.BigEndian.Uint32(sum[:])
}

func (w witness) Verify(text, signature []byte) bool {
	if len(signature) != 8+ed25519.SignatureSize {
		return false
	}
	time := binary.BigEndian.Uint64(signature)
	message := append([]byte(fmt.Sprintf("cosignature/v1\ntime %d\n", time)), text...)
	return ed25519.Verify(w.key, message, signature[8:])
}

func hash(data []byte) (found tlog.Hash) {
	if len(data) != len(found) {
		panic("not a hash")
	}
	copy(found[:], data)
	return
}

func hashes(items [][]byte) (found []tlog.Hash) {
	for _, item := range items {
		found = append(found, hash(item))
	}
	return
}

func openNote(q question) error {
	var known []note.Verifier
	if q.Key != "" {
		verifier, err := note.NewVerifier(q.Key)
		if err != nil {
			return err
		}
		known = append(known, verifier)
	}
	if q.Witness != nil {
		known = append(known, witness{q.Name, q.Witness})
	}
	opened, err := note.Open(q.Note, note.VerifierList(known...))
	if err != nil {
		return err
	}
	if len(opened.Sigs) != len(known) {
		return errors.New("not signed by each of them")
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[1] != fmt.Sprint(q.Size) || lines[2] != base64.StdEncoding.EncodeToString(q.Root) {
		return errors.New("another checkpoint")
	}
	return nil
}

// A directory in the layout of c2sp.org/tlog-tiles, which leaves the height out of a tile's path.
type directory string

func (d directory) Height() int { return 8 }

func (d directory) ReadTiles(tiles []tlog.Tile) (data [][]byte, err error) {
	for _, tile := range tiles {
		path := strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
		content, err := os.ReadFile(filepath.Join(string(d), path))
		if err != nil {
			return nil, err
		}
		data = append(data, content)
	}
	return data, nil
}

func (d directory) SaveTiles([]tlog.Tile, [][]byte) {}

func readTiles(q question) error {
	tree := tlog.Tree{N: q.Size, Hash: hash(q.Root)}
	reader := tlog.TileHashReader(tree, directory(q.Dir))
	root, err := tlog.TreeHash(q.Size, reader)
	if err != nil {
		return err
	}
	if root != tree.Hash {
		return errors.New("another root")
	}
	// Every leaf hash, in pieces; then every entry against its own.
	for first := int64(0); first < q.Size; first += 256 {
		var indexes []int64
		for i := first; i < q.Size && i < first+256; i++ {
			indexes = append(indexes, tlog.StoredHashIndex(0, i))
		}
		found, err := reader.ReadHashes(indexes)
		if err != nil {
			return err
		}
		width := int64(len(indexes))
		path := strings.Replace(tlog.Tile{H: 8, L: 0, N: first / 256, W: int(width)}.Path(), "tile/8/0/", "tile/entries/", 1)
		bundle, err := os.ReadFile(filepath.Join(q.Dir, path))
		if err != nil {
			return err
		}
		for i := int64(0); i < width; i++ {
			if len(bundle) < 2 || len(bundle) < 2+int(binary.BigEndian.Uint16(bundle)) {
				return errors.New("a bundle that ends too early")
			}
			end := 2 + int(binary.BigEndian.Uint16(bundle))
			if tlog.RecordHash(bundle[2:end]) != found[i] {
				return fmt.Errorf("entry %d is not the one that was hashed", first+i)
			}
			bundle = bundle[end:]
		}
		if len(bundle) != 0 {
			return errors.New("a bundle with something behind its entries")
		}
	}
	return nil
}

func answer(q question) (err error) {
	defer func() {
		if fault := recover(); fault != nil {
			err = fmt.Errorf("%v", fault)
		}
	}()
	switch q.Op {
	case "note":
		return openNote(q)
	case "record":
		return tlog.CheckRecord(hashes(q.Proof), q.Size, hash(q.Root), q.Index, tlog.RecordHash(q.Entry))
	case "tree":
		return tlog.CheckTree(hashes(q.Proof), q.Size, hash(q.Root), q.OldSize, hash(q.OldRoot))
	case "tiles":
		return readTiles(q)
	}
	panic("no such question")
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		var q question
		if err := json.Unmarshal(lines.Bytes(), &q); err != nil {
			panic(err)
		}
		if err := answer(q); err != nil {
			fmt.Println("refused:", strings.ReplaceAll(err.Error(), "\n", " "))
		} else {
			fmt.Println("ok")
		}
	}
}
