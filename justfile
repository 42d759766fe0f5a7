# The recipes wrap the scripts that CI calls; nothing lives only here.

# Everything CI checks
ci:
    .ci/run

# All tests, or those whose name contains FILTER
test *FILTER:
    ./test.sh {{FILTER}}

# The main job, to watch
demo *ARGS:
    cargo run --release --locked -p lab-demo -- {{ARGS}}

# Formatting
fmt:
    cargo fmt --all

# Lints as CI has them
lint:
    cargo clippy --workspace --all-targets --locked -- -D warnings

# Documentation as CI builds it
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

# Licences, bans, sources
deny:
    scripts/check-licences.sh

# Direction of dependencies
deps:
    scripts/check-dependencies.sh

# The engine in figures; MariaDB's column needs TEST_MYSQL_URL
numbers *ARGS:
    cargo run --release --locked -p engine-numbers -- {{ARGS}}

# The HTTP service in figures; MariaDB's column needs TEST_MYSQL_URL
api-numbers *ARGS:
    cargo build --release --locked -p ops-api -p api-numbers
    target/release/api-numbers {{ARGS}}

# The polling of a fleet in figures: needs root, mariadbd and some minutes
bench-fleet *ARGS:
    cargo build --release --locked -p ops-scheduler -p host-sim -p bench-fleet
    target/release/bench-fleet {{ARGS}}
