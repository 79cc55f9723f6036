# Every target installs what it needs, can be repeated, and writes only below .build and target (and
# the extension into the server that PG_CONFIG names).
#
#   PG_CONFIG       the server to use; default Debian's PostgreSQL 15
#   SIZE            ci or full: how much the tests, the gauges (memory, overhead, write-speed, size, scans, encodings) and the benches do; default ci
#   ARGS            further arguments of a bench, such as --queries 1,6 (--help lists them)
#   OROCHI_TEST_18  1: make test runs on PostgreSQL 18 built with assertions as well
export PG_CONFIG ?= /usr/lib/postgresql/15/bin/pg_config
SIZE ?= ci
export OROCHI_SIZE := $(SIZE)
MAJOR ?= 18
pg15 := $(CURDIR)/.build/pg15/bin/pg_config
pg18 := $(CURDIR)/.build/pg18/bin/pg_config
single := basic-sql differential crash mover-fire mover large-writes commit-races workers faults preload pressure standby docs order inspect columnar-scan bloom reuse recluster tpch vector-aggregate vector-join joined-subqueries fetches

.DEFAULT_GOAL := help
.PHONY: help demo psql stop install test check-unit lint postgres bench bench-series bench-wide bench-updates bench-flights upstream memory overhead write-speed size scans encodings upgrade $(single) fuzz-queries

help: ## show this list
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 22
	@echo '  make NAME         one test file; NAME is one of: $(single)'

demo: ## start a private server with real data and show what Orochi does
	@scripts/demo

psql: ## connect to the demo's server
	@scripts/server psql

stop: ## stop the demo's server and remove its data
	@scripts/server stop

install: ## build the extension and install it into PG_CONFIG's server
	@scripts/install

test: ## every test of ours, on PG_CONFIG's server
ifeq ($(OROCHI_TEST_18),1)
	@scripts/setup source-build
	@scripts/build-postgres 18
	@OROCHI_MORE_PG_CONFIGS=$(pg18) scripts/test all
else
	@scripts/test all
endif

check-unit: ## only the tests that cargo runs
	@scripts/test unit

$(single):
	@scripts/test server tests/test_$(subst -,_,$@).py

fuzz-queries: ## random queries on heaps and columnar tables, whose results have to be equal
	@scripts/test server tests/test_query_fuzz.py

upgrade: ## pg_upgrade of columnar tables from 15 to 18, both with assertions
	@scripts/setup source-build
	@scripts/build-postgres 15
	@scripts/build-postgres 18
	@PG_CONFIG=$(pg15) OROCHI_UPGRADE_TO=$(pg18) scripts/test server tests/test_upgrade.py

upstream: ## PostgreSQL's own regression and isolation suites, of MAJOR (default 18)
	@scripts/upstream $(MAJOR)

lint: ## formatting and clippy, without warnings (for every PostgreSQL of 16 to 18 in .build as well)
	@scripts/lint $(filter-out $(PG_CONFIG),$(wildcard $(CURDIR)/.build/pg1[678]/bin/pg_config))

postgres: ## put PostgreSQL MAJOR (15 to 18, default 18) into .build, for PG_CONFIG=.build/pgMAJOR/bin/pg_config
	@scripts/setup $(if $(filter 16,$(MAJOR)),fetched-server,source-build)
	@scripts/build-postgres $(MAJOR)

bench: ## race TPC-H beside a heap and DuckDB: fails if a result differs and, at full size, above the bars
	@scripts/gauge bench_tpch $(ARGS)

bench-series: ## the same with queries of time series
	@scripts/gauge bench_series $(ARGS)

bench-wide: ## the same with queries of web analytics on a table of 100 columns
	@scripts/gauge bench_wide $(ARGS)

bench-updates: ## race TPC-H with a twentieth of the rows updated against the tables as they were
	@scripts/gauge bench_updates $(ARGS)

bench-flights: ## measure columnar tables against heaps (OROCHI_BENCH_SCALE years of flights)
	@scripts/bench-flights

memory: ## measure the memory of loads and of compaction: fails above 1 GB
	@scripts/gauge memory

overhead: ## count what Orochi adds to statements on heaps: fails above 1 %
	@scripts/gauge overhead

write-speed: ## measure small writes, point reads and COPY beside a heap: fails below the bars
	@scripts/gauge writes

size: ## measure bytes of columnar tables beside DuckDB's file: fails above the bars
	@scripts/gauge size

scans: ## measure COPY, scans and look-ups beside a heap: fails above the bars
	@scripts/gauge scans

encodings: ## print ratio and decode rate of the encodings beside other libraries
	@scripts/setup build gauge
	@/usr/bin/python3 benches/encodings.py
