# The two commands that a machine with only Go needs are in the README. These
# are for people who work on DriftDB.

FUZZTIME ?= 10m
KILLS    ?= 50
BENCH    ?= .
BIG      ?= 5GiB
BIG_ROWS ?= 5000000
SEEDS    ?= 0-2000
CHECKS   ?= 20000
MODELS   ?= 2000
DEPTH    ?= 7
REQUESTS ?= 4
WORLDS   ?= 20000
CASES    ?= 0-9999
REPAIRS ?= 500
DIFF_ROWS ?= 1000000
TAKEOVERS ?= 100
LATENCY  ?= 150
CLOSES   ?= 200
USERS    ?= 1000000
ROUNDS   ?= 3
LIES     ?= 0-5000
PAIRS    ?= 100
VFS_KILLS ?= 200
RESOLVES ?= 500
FORKS    ?= 500
FOLLOWERS ?= 0-10000
PROMOTIONS ?= 50
LAG      ?= 120
STRIDE   ?= 1
IMAGES   ?= 100000
FAULTS   ?= 10000
CONSUMERS ?= 200

.PHONY: check lint race bench peers mixed big memory snapshots tables shapes fuzz kill vfs closes faults disk clocks model forks repairs writers takeover world corpus realfiles damage distinguish economy restorebench resolve undo sessions canary audit licences demo picture windows diffs followers promotions lag consume inspect pictures site

# Rows that are written and sent while the schema of 10,000 tables never stands still.
tables:
	DRIFTDB_TABLES=10000 go test ./internal/systemtest/scale -run '^TestSchemaNeverStill$$' -count 1 -v -timeout 0

# Reads of kept snapshots beside another process that commits and cuts the WAL.
snapshots:
	DRIFTDB_SNAPSHOT_ROUNDS=20000 go test ./internal/sqlite -run '^TestSnapshotFresh$$' -count 1 -v -timeout 0

# Everything that CI runs.
check:
	.ci/run

# golangci-lint with the linters that .golangci.yml chooses; the first run builds it.
lint:
	CGO_ENABLED=0 go tool -modfile=tools/lint/go.mod golangci-lint run ./...

race:
	CGO_ENABLED=1 go test -race ./...

bench:
	go test -run '^$$' -bench '$(BENCH)' -benchtime 1x ./internal/systemtest/scale
	go test -run '^$$' -bench '$(BENCH)' -count 5 ./internal/batch ./internal/seal
	go test -run '^$$' -bench '$(BENCH)' -benchtime 1x ./internal/syncer
	go test -run '^$$' -bench '$(BENCH)' -benchtime 200x ./internal/worldtest

# DriftDB beside better-sqlite3 (SQLite in C) and beside its own driver, by hand, in turn; it
# writes the table and the chart in docs. It needs Node.js and npm; npm builds better-sqlite3.
peers:
	cd bench/peers && npm ci && CGO_ENABLED=0 go run . -rounds $(ROUNDS) -docs ../../docs

# Writers beside a loop over transactions and beside readers, each kind left out in turn, beside
# the plain driver: rates and waits.
mixed:
	cd bench/peers && CGO_ENABLED=0 go run ./mixed -rounds $(ROUNDS)

# A database and a transaction of real size: memory, and how long writers wait.
# It needs three times BIG in the folder for temporary files.
big:
	DRIFTDB_BIG=$(BIG) DRIFTDB_BIG_TRANSACTION=$(BIG_ROWS) DRIFTDB_BIG_IMPORT=1000000 \
		go test -run 'TestBig|TestImportWAL' -count 1 -v -timeout 0 ./internal/systemtest/scale

# Five databases of 48 MB with eight readers each: what is resident, beside the same with
# SQLite's own page cache. It needs Linux, and 3 GB of memory.
memory:
	DRIFTDB_MEMORY=1 go test ./internal/systemtest/scale -run '^Test(Resident|ConnectionMemory)$$' -count 1 -v -timeout 0
	go test ./internal/pagecache -run '^$$' -bench .
	go test ./internal/pagecache -run '^$$' -bench . -builtin

# Programs that live for some milliseconds, networks that swallow everything, and
# versions of a program that take turns.
sessions:
	DRIFTDB_SESSIONS=400 DRIFTDB_HANDOVERS=50 DRIFTDB_READERS=60 DRIFTDB_READ_EVERY=1000 \
		go test ./internal/systemtest/scale -run 'Sessions|BlackHole|RollingDeploy|TestReaders' -count 1 -v -timeout 0

# A restore of USERS users and of a tenth as many updates: the time, the processors
# and the memory that each stage takes, ROUNDS times.
restorebench:
	DRIFTDB_RESTORE_USERS=$(USERS) DRIFTDB_RESTORE_ROUNDS=$(ROUNDS) \
		go test ./internal/systemtest/scale -run '^TestRestoreBench$$' -count 1 -v -timeout 0

# Every fuzz target in turn, for FUZZTIME each. Left alone, Go spends most of that
# on making each new input smaller.
fuzz:
	@grep -rE --include='*_test.go' -o '^func Fuzz[A-Za-z0-9_]*' . | sort | while IFS=: read -r file func; do \
		dir=$$(dirname "$$file"); target=$${func#func }; \
		echo "== $$dir $$target"; \
		go test "$$dir" -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x </dev/null || exit 1; \
	done

# Processes killed while they write and sync, each restored and compared.
kill:
	DRIFTDB_KILLS=$(KILLS) go test ./internal/systemtest/... ./cmd/driftdb -run Kill -count 1 -v -timeout 60m

# The VFS beside the platform's: random histories, every write fails in turn, processes
# that are killed.
vfs:
	DRIFTDB_VFS_KILLS=$(VFS_KILLS) DRIFTDB_REQUIRE_TOOLS=1 \
		go test ./internal/vfs -rounds 300 -all -count 1 -v -timeout 0

# A process with two consumers of changes, killed while it writes, at times with its file lost.
consume:
	DRIFTDB_CONSUMER_KILLS=$(CONSUMERS) go test ./internal/systemtest/consume -run '^TestConsumeKilled$$' -count 1 -v -timeout 0

# Databases that are closed under every mixture of writers, and opened again.
closes:
	DRIFTDB_CLOSES=$(CLOSES) go test ./internal/systemtest/file -run '^TestCloseUnderLoad$$' -count 1 -v -timeout 0
	cd tests/orm && DRIFTDB_CLOSES=$(CLOSES) go test . -run '^TestGORMClose$$' -count 1 -v -timeout 0

# Random schedules of faults, deaths and takeovers, and of answers that are not the
# store's, each restored and compared.
faults: SEEDS = 0-10000
faults:
	go test ./internal/systemtest/faults -run '^TestSchedules$$' -seeds $(SEEDS) -count 1 -timeout 0
	go test ./internal/systemtest/faults -run '^TestLies$$' -seeds $(LIES) -count 1 -timeout 0

# Clocks that are set wrong and right again, restored to random times and compared.
clocks:
	go test ./internal/systemtest/faults -run '^TestClocks$$' -seeds $(SEEDS) -count 1 -timeout 0

# Long random runs: of the whole path, restored and compared; of differences, applied and
# compared; of capture, replayed
# and compared, and compared with what SQLite's session extension records.
model:
	go test ./internal/systemtest/model -run '^TestModel$$' -rapid.checks $(MODELS) -rapid.steps 300 -count 1 -timeout 0
	go test ./internal/systemtest/model -run '^TestDiff$$' -rapid.checks $(MODELS) -count 1 -timeout 0
	go test ./internal/capture -run 'Random|Racing|CookieNet' -seeds $(SEEDS) -count 1 -timeout 0
	go test ./internal/capture -run Session -rapid.checks $(CHECKS) -count 1 -timeout 0
	go test ./internal/systemtest/undo -run 'Model|Conflicts' -rapid.checks $(MODELS) -count 1 -timeout 0

# The changes of a million rows, taken back and taken back again: time and memory.
undo:
	DRIFTDB_UNDO_ROWS=1000000 go test ./internal/systemtest/undo -run '^TestUndoMillion$$' -count 1 -v -timeout 0

# The differences of DIFF_ROWS rows: the time, and the memory.
diffs:
	DRIFTDB_DIFF_ROWS=$(DIFF_ROWS) go test ./internal/systemtest/scale -run '^TestDiffMemory$$' -count 1 -v -timeout 0

# The inspector's log pages over a million changes, more of its pages, and all of them in a
# browser.
inspect:
	DRIFTDB_LOG_ROWS=1000000 DRIFTDB_PAGES=200 go test ./inspect -run 'TestLogPage|TestEveryPage' -count 1 -v -timeout 0
	cd tests/inspect && DRIFTDB_REQUIRE_TOOLS=1 go test . -count 1 -v

# The pictures of the inspector in docs/img.
pictures:
	cd tests/inspect && DRIFTDB_REQUIRE_TOOLS=1 DRIFTDB_SCREENSHOTS=$(CURDIR)/docs/img go test . -run '^TestScreenshots$$' -count 1 -v

# The web site, in site/public.
site:
	cd site && go run .

# Random small histories whose manifest is made anew, restored and compared.
repairs:
	DRIFTDB_REPAIRS=$(REPAIRS) go test ./internal/systemtest/backup -run '^TestRepairRandom$$' -count 1 -v -timeout 0

# Random tables, from one column to 2,000, whose log is replayed and compared.
shapes: SEEDS = 0-20000
shapes:
	go test ./internal/capture -run '^TestShapes$$' -seeds $(SEEDS) -count 1 -timeout 0

# Two machines that write under one name, in more orders than CI tries.
writers:
	DRIFTDB_DEPTH=$(DEPTH) DRIFTDB_REQUESTS=$(REQUESTS) go test ./internal/systemtest/writers -run '^TestWritersInterleaved$$' -count 1 -v -timeout 0
	go test ./internal/systemtest/writers -run '^TestWritersAtRandom$$' -rapid.checks $(WORLDS) -count 1 -timeout 0

# What can happen to the database file, at each moment of a program's life.
world:
	go test ./internal/worldtest -run '^TestMatrix$$' -worlds $(CASES) -count 1 -timeout 0

# Power loss at each operation of a database's life, with IMAGES of what the disk may have
# kept; and FAULTS operations of the disk that fail.
disk:
	go test ./internal/disktest -images $(IMAGES) -faults $(FAULTS) -count 1 -v -timeout 0

# All of SQLite's fuzz corpus: its databases, and its scripts by way of SQL; and files
# with random damage.
corpus:
	go test ./internal/corpustest -run 'TestCorpus|TestScripts|TestMutated' -corpus -count 1 -v -timeout 0

# Databases of Debian packages and Go modules, which it fetches, under random
# statements.
realfiles: SEEDS = 1-10
realfiles:
	go test ./internal/corpustest -run '^TestFiles$$' -fetch -seeds $(SEEDS) -count 1 -v -timeout 0

# One machine takes over from another that commits every 5 ms, by way of a store
# whose every request takes LATENCY ms.
takeover:
	DRIFTDB_TAKEOVERS=$(TAKEOVERS) DRIFTDB_LATENCY=$(LATENCY) \
		go test ./internal/systemtest/writers -run '^TestTakeoverAlive$$' -count 1 -v -timeout 0

# Random worlds of parents, forks, forks of forks, collections and deletions.
forks:
	go test ./internal/systemtest/forks -run '^TestWorlds$$' -worlds 0-$(FORKS) -count 1 -timeout 0

# Followers beside random schedules of faults, deaths and takeovers; and processes that
# follow, killed at any moment.
followers:
	go test ./internal/systemtest/faults -run '^TestFollowers$$' -seeds $(FOLLOWERS) -count 1 -timeout 0
	DRIFTDB_FOLLOWER_KILLS=200 go test ./internal/systemtest/faults -run '^TestKilledFollowers$$' -count 1 -v -timeout 0

# Followers that are promoted while the old writer is under load.
promotions:
	DRIFTDB_PROMOTIONS=$(PROMOTIONS) go test ./internal/systemtest/writers -run '^TestPromoteUnderLoad$$' -count 1 -v -timeout 0

# How far a follower is behind a writer that commits 100 times a second, and what both ask of
# the store, under load and idle: three pairs of intervals, for three times LAG seconds each.
lag:
	DRIFTDB_LAG=$(LAG) go test ./internal/systemtest/scale -run '^TestLag$$' -count 1 -v -timeout 0

# Two machines that have written offline, brought together and compared with a model.
resolve:
	go test ./internal/systemtest/model -run '^TestResolveModel$$' -resolves 0-$(RESOLVES) -count 1 -timeout 0

# Every byte of a backup, or one of STRIDE, damaged in turn; and thousands of files that a check reads.
damage:
	go test ./internal/check -run '^TestDamage$$' -files 10000 -count 1 -v -timeout 0
	DRIFTDB_STRIDE=$(STRIDE) go test ./internal/systemtest/damage -run '^TestDamagedBackup$$' -count 1 -v -timeout 0

# Pairs of databases that nobody without the key can tell apart by their buckets.
distinguish:
	go test ./internal/systemtest/damage -run '^TestDistinguish$$' -pairs $(PAIRS) -count 1 -v -timeout 0

# What is sent and asked for, at full size: a million rows; and by databases that are written
# to at a steady rate.
economy:
	DRIFTDB_ROWS=1000000 DRIFTDB_COST=1 go test ./internal/systemtest/scale -run '^Test(BulkLoad|Cost)$$' -count 1 -v -timeout 0

# The tests of the library and of the command, with a search for their keys and secrets
# in whatever comes out of them: output, logs, events, files and objects.
canary:
	DRIFTDB_CANARY=1 go test . ./internal/systemtest/... -count 1 -timeout 0
	go test ./cmd/driftdb -count 1 -timeout 0

# The modules that DriftDB is built of: under which licences, and whether its code reaches
# a vulnerability that is known by now.
audit:
	cd tools/audit && go run . -vulndb latest

licences:
	cd tools/audit && go run . -write

demo:
	go run ./cmd/driftdb demo

# The picture of the demo in the README.
picture:
	DRIFTDB_DEMO_PICTURE=1 go test ./cmd/driftdb -run '^TestDemoPicture$$' -count 1

# The Windows build under Wine: the demo, and the short tests of PACKAGES, or of all. The
# tools are installed on Debian where they are missing.
windows:
	tools/windows/run $(PACKAGES)
