package vfstest

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"

	lib "modernc.org/sqlite/lib"
)

// Disk watches a folder. It logs what SQLite does to the files there, and at each operation
// also checks what the program has done to the folder without SQLite. From the log it makes
// images of what power loss would leave; see Image.
type Disk struct {
	dir string

	mu     sync.Mutex
	ops    []Op
	files  []*file
	names  map[string][]version // by path in dir
	counts map[Kind]int         // SQLite's operations, including failed ones

	fault Fault
	seen  int // matching operations so far
	fired int
}

// Kind is the kind of an Op.
type Kind string

// The kinds.
const (
	Write      Kind = "write"
	Truncate   Kind = "truncate"
	Sync       Kind = "sync"
	SyncFolder Kind = "sync of folder"
	Rewrite    Kind = "rewrite" // of a whole file, by the program itself
	Name       Kind = "name"    // a file has gained or lost a name
	Note       Kind = "note"
	Read       Kind = "read" // never in the log; for Fault
)

// Op is an entry of the log.
type Op struct {
	Kind Kind
	Path string // relative to the folder
	Note any    // of a Note

	file    *file
	off     int64
	data    []byte
	size    int64 // of a Truncate
	from    int   // of a Sync: it covers all operations before this one
	lost    bool  // an fsync has failed, and the data never reaches the disk
	modTime int64 // of the file, Unix ns
}

func (o Op) String() string {
	switch o.Kind {
	case Write:
		return fmt.Sprintf("write of %d bytes at %d of %s", len(o.data), o.off, o.Path)
	case Truncate:
		return fmt.Sprintf("truncate %s to %d", o.Path, o.size)
	case Note:
		return fmt.Sprintf("note %v", o.Note)
	}
	return fmt.Sprintf("%s %s", o.Kind, o.Path)
}

// file is a file, regardless of its names.
type file struct {
	path    string // the last name
	info    fs.FileInfo
	handles int
	text    []byte // content when last seen, if SQLite does not have the file open
}

// version is what a name stands for from an operation on.
type version struct {
	at   int
	file *file // nil: nothing
}

// Watch starts watching a folder. What is in it counts as synced.
func Watch(dir string) (*Disk, error) {
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, err
	}
	d := &Disk{dir: dir, names: map[string][]version{}, counts: map[Kind]int{}}
	d.look()
	d.ops = append(d.ops, Op{Kind: SyncFolder, Path: ".", from: len(d.ops)})
	for _, f := range d.files {
		d.ops = append(d.ops, Op{Kind: Sync, Path: f.path, file: f, from: len(d.ops)})
	}
	disksMu.Lock()
	defer disksMu.Unlock()
	disks[dir] = d
	return d, nil
}

// Close ends the watch. Files that are open stay watched.
func (d *Disk) Close() {
	disksMu.Lock()
	defer disksMu.Unlock()
	delete(disks, d.dir)
}

// Ops is the log up to now.
func (d *Disk) Ops() []Op {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.look()
	return d.ops[:len(d.ops):len(d.ops)]
}

// Counts returns the number of operations of each kind that can have a Fault.
func (d *Disk) Counts() map[Kind]int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.counts)
}

// Note puts an entry of the test's own into the log, after the operations so far: what
// happened elsewhere, or what was promised to a caller.
func (d *Disk) Note(note any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.look()
	d.ops = append(d.ops, Op{Kind: Note, Note: note})
}

// look logs what has been done to the folder without SQLite. The caller holds mu.
func (d *Disk) look() {
	there := map[string]bool{}
	_ = filepath.WalkDir(d.dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() || strings.HasSuffix(path, "-shm") {
			return nil
		}
		info, err := os.Lstat(path)
		if err != nil {
			return nil
		}
		name, err := filepath.Rel(d.dir, path)
		if err != nil {
			return err
		}
		there[name] = true
		f := d.fileOf(name, info)
		if f != d.named(name) {
			d.name(name, f)
		}
		d.reread(f, path, info)
		return nil
	})
	for name := range d.names {
		if !there[name] && d.named(name) != nil {
			d.name(name, nil)
		}
	}
}

// named returns the file that has a name now.
func (d *Disk) named(name string) *file {
	if v := d.names[name]; len(v) > 0 {
		return v[len(v)-1].file
	}
	return nil
}

// name logs that a name stands for f from now on. A file that the program itself renames
// counts as synced before: dbfile.Replace does that, and not through SQLite.
func (d *Disk) name(name string, f *file) {
	if f != nil && f.path != name {
		d.ops = append(d.ops, Op{Kind: Sync, Path: f.path, file: f, from: len(d.ops)})
		f.path = name
	}
	d.names[name] = append(d.names[name], version{len(d.ops), f})
	d.ops = append(d.ops, Op{Kind: Name, Path: name, file: f})
}

// fileOf returns the file at name.
func (d *Disk) fileOf(name string, info fs.FileInfo) *file {
	if f := d.named(name); f != nil && os.SameFile(f.info, info) {
		return f
	}
	for _, f := range d.files {
		if os.SameFile(f.info, info) && (f.handles > 0 || d.named(f.path) == f) {
			return f
		}
	}
	f := &file{path: name, info: info}
	d.files = append(d.files, f)
	return f
}

// small is the size up to which a file is read at each look: a time stamp does not distinguish
// every write from the one before.
const small = 4096

// reread logs what the program has written to a file that SQLite does not have open. (Reading
// an open one would do harm: closing it would drop SQLite's locks.)
func (d *Disk) reread(f *file, path string, info fs.FileInfo) {
	before := f.info
	f.info = info
	if f.handles > 0 || f.text != nil && info.Size() > small && info.Size() == before.Size() && info.ModTime().Equal(before.ModTime()) {
		return
	}
	text, err := os.ReadFile(path)
	if err != nil || f.text != nil && bytes.Equal(text, f.text) {
		return
	}
	f.text = append([]byte{}, text...)
	d.ops = append(d.ops, Op{Kind: Rewrite, Path: f.path, file: f, data: f.text, modTime: info.ModTime().UnixNano()})
}

func (d *Disk) rel(path string) string {
	name, err := filepath.Rel(d.dir, path)
	if err != nil {
		panic(err)
	}
	return name
}

// open opens a file and passes it to watch.
func (d *Disk) open(path string, open func() int32, watch func(*file) int32) int32 {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.look() // while SQLite has no locks on it
	if rc := open(); rc != lib.SQLITE_OK {
		return rc
	}
	if d.named(d.rel(path)) == nil {
		d.look()
	}
	f := d.named(d.rel(path))
	if f == nil { // it has already lost its name
		f = &file{path: d.rel(path)}
	}
	f.handles++
	return watch(f)
}

func (d *Disk) close(h *handle, closeFile func() int32) int32 {
	d.mu.Lock()
	defer d.mu.Unlock()
	rc := closeFile()
	h.handles--
	if info, err := os.Lstat(filepath.Join(d.dir, h.path)); err == nil && h.handles == 0 && os.SameFile(info, h.info) {
		h.info = info
		h.text, _ = os.ReadFile(filepath.Join(d.dir, h.path))
	}
	return rc
}

func (d *Disk) remove(path string, syncDir bool, remove func() int32) int32 {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.look()
	rc := remove()
	d.look()
	if rc == lib.SQLITE_OK && syncDir {
		d.ops = append(d.ops, Op{Kind: SyncFolder, Path: filepath.Dir(d.rel(path)), from: len(d.ops)})
	}
	return rc
}

func (d *Disk) write(h *handle, data []byte, off int64, write func(n int) int32) int32 {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.look()
	n, failed := d.fails(Write, h.file, len(data))
	rc := int32(lib.SQLITE_OK)
	if n > 0 {
		rc = write(n)
	}
	if rc == lib.SQLITE_OK && n > 0 {
		d.log(h, Op{Kind: Write, off: off, data: append([]byte{}, data[:n]...)})
	}
	return max(rc, failed)
}

func (d *Disk) truncate(h *handle, size int64, truncate func() int32) int32 {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.look()
	if _, failed := d.fails(Truncate, h.file, 0); failed != lib.SQLITE_OK {
		return failed
	}
	rc := truncate()
	if rc == lib.SQLITE_OK {
		d.log(h, Op{Kind: Truncate, size: size})
	}
	return rc
}

// sync covers what was written before it began, and promises nothing for writes that come
// meanwhile.
func (d *Disk) sync(h *handle, sync func() int32) int32 {
	d.mu.Lock()
	d.look()
	from := len(d.ops)
	_, failed := d.fails(Sync, h.file, 0)
	lie := failed != lib.SQLITE_OK && d.fault.How == Lie
	if failed != lib.SQLITE_OK && !lie {
		d.lose(h.file)
	}
	d.mu.Unlock()
	switch {
	case lie:
		return lib.SQLITE_OK
	case failed != lib.SQLITE_OK:
		return failed
	}
	rc := sync()
	d.mu.Lock()
	defer d.mu.Unlock()
	if rc != lib.SQLITE_OK {
		return rc
	}
	d.look()
	d.log(h, Op{Kind: Sync, from: from})
	if h.folder {
		h.folder = false
		d.ops = append(d.ops, Op{Kind: SyncFolder, Path: filepath.Dir(h.path), from: from})
	}
	return rc
}

// log adds an operation of SQLite's. The caller holds mu.
func (d *Disk) log(h *handle, op Op) {
	op.file, op.Path = h.file, h.path
	if info, err := os.Lstat(filepath.Join(d.dir, h.path)); err == nil {
		op.modTime = info.ModTime().UnixNano()
	}
	d.ops = append(d.ops, op)
}
