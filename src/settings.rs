//! Every setting (GUC) of Orochi, with its unit, bounds, context and default, and the reason for them.
//!
//! Contexts: `Userset` for what concerns one session's statements, `Sighup` for what the background workers
//! obey. Nothing needs a restart. The prefix `orochi` is reserved, so a misspelt setting is an error rather than
//! a placeholder that nobody reads.

use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting, PostgresGucEnum};
use std::ffi::CStr;
use std::time::Duration;

/// Block compression that goes on top of a stripe's encodings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PostgresGucEnum)]
pub enum Compression {
    /// Encodings only.
    #[name = c"none"]
    None,
    /// Fast in both directions.
    #[name = c"lz4"]
    Lz4,
    /// Smaller, slower to write; obeys `orochi.compression_level`; the default.
    #[name = c"zstd"]
    Zstd,
}

/// Statements of up to this many rows are small writes, for which a stripe would cost more than it saves.
static ROW_STORE_ROWS: GucSetting<i32> = GucSetting::<i32>::new(1_000);
/// 150,000 rows are 147 vectors: directories stay small, and a point lookup decodes one vector all the same.
static STRIPE_ROW_LIMIT: GucSetting<i32> = GucSetting::<i32>::new(150_000);
/// Enough for a full stripe of some 50 columns; a backend shares it among the tables it loads.
static WRITE_BUFFER_MB: GucSetting<i32> = GucSetting::<i32>::new(64);
/// Two workers beside the session, which reads and splits lines: most of a load is then done at once, and a default server, with eight
/// worker processes for everything, keeps the greater part of them.
static COPY_WORKERS: GucSetting<i32> = GucSetting::<i32>::new(2);
/// Numbers and what repeats are encoded, so that compression is left with texts, of which ZSTD makes much less than LZ4.
static COMPRESSION: GucSetting<Compression> = GucSetting::<Compression>::new(Compression::Zstd);
/// ZSTD's own default.
static COMPRESSION_LEVEL: GucSetting<i32> = GucSetting::<i32>::new(3);
/// Holds the directories of some thousand stripes and the decoded vectors of an OLTP working set.
static CACHE_SIZE_MB: GucSetting<i32> = GucSetting::<i32>::new(64);
static MOVER_ENABLED: GucSetting<bool> = GucSetting::<bool>::new(true);
/// A second keeps the row store short and costs an idle database one cheap look.
static MOVER_NAPTIME_MS: GucSetting<i32> = GucSetting::<i32>::new(1_000);
/// Eight vectors: enough for the encodings to pay, and deleted well within the lock target.
static MOVER_BATCH_ROWS: GucSetting<i32> = GucSetting::<i32>::new(8_192);
/// Leaves room below the 50 ms that the mover may hold row locks.
static MOVER_LOCK_TARGET_MS: GucSetting<i32> = GucSetting::<i32>::new(30);
/// Detection, signal and restart then fit in 10 seconds.
static WORKER_HEARTBEAT_TIMEOUT_MS: GucSetting<i32> = GucSetting::<i32>::new(5_000);
static ENABLE_COLUMNAR_SCAN: GucSetting<bool> = GucSetting::<bool>::new(true);
static ENABLE_VECTORIZED_EXECUTION: GucSetting<bool> = GucSetting::<bool>::new(true);
static ENABLE_JOINED_SUBQUERIES: GucSetting<bool> = GucSetting::<bool>::new(true);
/// More than the mover handles in a minute or so: it cannot keep up, or something holds it back.
static BACKLOG_WARN_ROWS: GucSetting<i32> = GucSetting::<i32>::new(10_000_000);

/// Twice what is warned about: writers are slowed down when nobody has seen to the warning.
static BACKLOG_LIMIT_ROWS: GucSetting<i32> = GucSetting::<i32>::new(20_000_000);

/// Name and descriptions of a setting.
struct Text {
    name: &'static CStr,
    short: &'static CStr,
    long: &'static CStr,
}

const fn text(name: &'static CStr, short: &'static CStr, long: &'static CStr) -> Text {
    Text { name, short, long }
}

fn int(
    text: Text,
    setting: &'static GucSetting<i32>,
    bounds: std::ops::RangeInclusive<i32>,
    context: GucContext,
    unit: GucFlags,
) {
    let (low, high) = bounds.into_inner();
    GucRegistry::define_int_guc(text.name, text.short, text.long, setting, low, high, context, unit);
}

fn boolean(text: Text, setting: &'static GucSetting<bool>, context: GucContext) {
    GucRegistry::define_bool_guc(text.name, text.short, text.long, setting, context, GucFlags::default());
}

/// Defines every setting. Call once, first thing in `_PG_init`.
pub fn init() {
    define_storage();
    define_mover();
    define_workers();
    crate::pg::server::reserve_setting_prefix(c"orochi");
}

fn define_storage() {
    use GucContext::Userset;
    let plain = GucFlags::default();
    int(
        text(
            c"orochi.row_store_rows",
            c"Rows of a statement that go to the row store before stripes are written.",
            c"0 writes every row of an INSERT or COPY into stripes.",
        ),
        &ROW_STORE_ROWS,
        0..=1_000_000,
        Userset,
        plain,
    );
    int(
        text(c"orochi.stripe_row_limit", c"Rows at which a stripe is closed.", c"Stripes also close by size."),
        &STRIPE_ROW_LIMIT,
        1_000..=1_000_000,
        Userset,
        plain,
    );
    int(
        text(
            c"orochi.write_buffer_mb",
            c"Memory for rows that wait to be written as stripes.",
            c"All tables that a session writes to share it.",
        ),
        &WRITE_BUFFER_MB,
        1..=4_096,
        Userset,
        GucFlags::UNIT_MB,
    );
    int(
        text(
            c"orochi.copy_workers",
            c"Parallel workers that a COPY into a columnar table may use.",
            c"They are taken from max_parallel_workers. 0 means that COPY does all by itself.",
        ),
        &COPY_WORKERS,
        0..=64,
        Userset,
        plain,
    );
    GucRegistry::define_enum_guc(
        c"orochi.compression",
        c"Block compression of new stripes.",
        c"Encodings such as dictionaries and bit-packing apply in any case.",
        &COMPRESSION,
        Userset,
        plain,
    );
    int(
        text(
            c"orochi.compression_level",
            c"Level of ZSTD compression of new stripes.",
            c"Higher is smaller and slower to write. Other compressions have no levels.",
        ),
        &COMPRESSION_LEVEL,
        1..=19,
        Userset,
        plain,
    );
    int(
        text(
            c"orochi.cache_size_mb",
            c"Memory of a session for stripe directories and decoded vectors.",
            c"The least recently used go first.",
        ),
        &CACHE_SIZE_MB,
        1..=65_536,
        Userset,
        GucFlags::UNIT_MB,
    );
    boolean(
        text(
            c"orochi.enable_columnar_scan",
            c"Enables the planner's use of columnar scans.",
            c"When off, columnar tables are read row by row.",
        ),
        &ENABLE_COLUMNAR_SCAN,
        Userset,
    );
    boolean(
        text(
            c"orochi.enable_vectorized_execution",
            c"Enables the planner's use of operators that work on batches of rows.",
            c"When off, rows of columnar tables are aggregated one by one, by PostgreSQL's own operators.",
        ),
        &ENABLE_VECTORIZED_EXECUTION,
        Userset,
    );
    boolean(
        text(
            c"orochi.enable_joined_subqueries",
            c"Enables the planner's use of joins in place of correlated aggregates.",
            c"When off, an aggregate that depends on a row of the query around it is computed for each such row.",
        ),
        &ENABLE_JOINED_SUBQUERIES,
        Userset,
    );
}

fn define_mover() {
    use GucContext::Sighup;
    boolean(
        text(
            c"orochi.mover_enabled",
            c"Moves rows from the row store into stripes in the background.",
            c"When off, the row store grows until the mover is enabled again.",
        ),
        &MOVER_ENABLED,
        Sighup,
    );
    int(
        text(
            c"orochi.mover_naptime_ms",
            c"Time between two runs of the mover in a database.",
            c"A run that leaves work is followed at once.",
        ),
        &MOVER_NAPTIME_MS,
        10..=3_600_000,
        Sighup,
        GucFlags::UNIT_MS,
    );
    int(
        text(
            c"orochi.mover_batch_rows",
            c"Largest number of rows that the mover moves in one transaction.",
            c"The batch shrinks when deleting its rows takes longer than orochi.mover_lock_target_ms.",
        ),
        &MOVER_BATCH_ROWS,
        64..=1_000_000,
        Sighup,
        GucFlags::default(),
    );
    int(
        text(
            c"orochi.mover_lock_target_ms",
            c"Time for which the mover may hold row locks.",
            c"The batch size adapts to it.",
        ),
        &MOVER_LOCK_TARGET_MS,
        1..=10_000,
        Sighup,
        GucFlags::UNIT_MS,
    );
    int(
        text(
            c"orochi.backlog_warn_rows",
            c"Rows waiting in the row store of a table above which health() warns.",
            c"A backlog that keeps growing means that the mover is off, held back or too slow.",
        ),
        &BACKLOG_WARN_ROWS,
        1..=i32::MAX,
        Sighup,
        GucFlags::default(),
    );
    int(
        text(
            c"orochi.backlog_limit_rows",
            c"Rows waiting in the row store of a table above which statements that write to it are delayed.",
            c"The delay of a statement grows to 100 ms at twice the limit. 0 means no limit.",
        ),
        &BACKLOG_LIMIT_ROWS,
        0..=i32::MAX,
        Sighup,
        GucFlags::default(),
    );
}

fn define_workers() {
    int(
        text(
            c"orochi.worker_heartbeat_timeout_ms",
            c"Time without a sign of life after which a background worker is restarted.",
            c"A worker gives a sign of life every second, whatever it does.",
        ),
        &WORKER_HEARTBEAT_TIMEOUT_MS,
        2_000..=600_000,
        GucContext::Sighup,
        GucFlags::UNIT_MS,
    );
}

/// A setting whose lower bound is not negative, as a size.
fn size(setting: &GucSetting<i32>) -> usize {
    usize::try_from(setting.get()).unwrap_or(0)
}

fn mebibytes(setting: &GucSetting<i32>) -> usize {
    size(setting) << 20
}

fn milliseconds(setting: &GucSetting<i32>) -> Duration {
    Duration::from_millis(size(setting) as u64)
}

/// `orochi.row_store_rows`: rows of a statement that go to the row store first.
pub fn row_store_rows() -> usize {
    size(&ROW_STORE_ROWS)
}

/// `orochi.stripe_row_limit`: rows at which a stripe is closed.
pub fn stripe_row_limit() -> usize {
    size(&STRIPE_ROW_LIMIT)
}

/// `orochi.write_buffer_mb`, in bytes.
pub fn write_buffer_bytes() -> usize {
    mebibytes(&WRITE_BUFFER_MB)
}

/// `orochi.copy_workers`: parallel workers that a COPY may use; 0 means none.
pub fn copy_workers() -> usize {
    size(&COPY_WORKERS)
}

/// `orochi.compression`.
pub fn compression() -> Compression {
    COMPRESSION.get()
}

/// `orochi.compression_level`: 1 to 19.
pub fn compression_level() -> i32 {
    COMPRESSION_LEVEL.get()
}

/// `orochi.cache_size_mb`, in bytes.
pub fn cache_size_bytes() -> usize {
    mebibytes(&CACHE_SIZE_MB)
}

/// `orochi.enable_columnar_scan`.
pub fn enable_columnar_scan() -> bool {
    ENABLE_COLUMNAR_SCAN.get()
}

/// `orochi.enable_vectorized_execution`.
pub fn enable_vectorized_execution() -> bool {
    ENABLE_VECTORIZED_EXECUTION.get()
}

/// `orochi.enable_joined_subqueries`.
pub fn enable_joined_subqueries() -> bool {
    ENABLE_JOINED_SUBQUERIES.get()
}

/// `orochi.mover_enabled`.
pub fn mover_enabled() -> bool {
    MOVER_ENABLED.get()
}

/// `orochi.mover_naptime_ms`.
pub fn mover_naptime() -> Duration {
    milliseconds(&MOVER_NAPTIME_MS)
}

/// `orochi.mover_batch_rows`.
pub fn mover_batch_rows() -> usize {
    size(&MOVER_BATCH_ROWS)
}

/// `orochi.mover_lock_target_ms`.
pub fn mover_lock_target() -> Duration {
    milliseconds(&MOVER_LOCK_TARGET_MS)
}

/// `orochi.backlog_warn_rows`.
pub fn backlog_warn_rows() -> u64 {
    size(&BACKLOG_WARN_ROWS) as u64
}

/// `orochi.backlog_limit_rows`; 0 means no limit.
pub fn backlog_limit_rows() -> u64 {
    size(&BACKLOG_LIMIT_ROWS) as u64
}

/// `orochi.worker_heartbeat_timeout_ms`.
pub fn worker_heartbeat_timeout() -> Duration {
    milliseconds(&WORKER_HEARTBEAT_TIMEOUT_MS)
}

#[cfg(any(test, feature = "pg_test"))]
#[pgrx::pg_schema]
#[allow(clippy::expect_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;
    use pgrx::prelude::*;

    fn set(name: &str, value: &str) {
        Spi::run(&format!("SET {name} = {value}")).expect("SET");
    }

    #[pg_test]
    fn defaults() {
        assert_eq!((row_store_rows(), stripe_row_limit()), (1_000, 150_000));
        assert_eq!((write_buffer_bytes(), cache_size_bytes()), (64 << 20, 64 << 20));
        assert_eq!(copy_workers(), 2);
        assert_eq!((compression(), compression_level()), (Compression::Zstd, 3));
        assert!(mover_enabled() && enable_columnar_scan());
        assert_eq!((mover_naptime(), mover_lock_target()), (Duration::from_secs(1), Duration::from_millis(30)));
        assert_eq!((mover_batch_rows(), backlog_warn_rows()), (8_192, 10_000_000));
        assert_eq!(backlog_limit_rows(), 20_000_000);
        assert_eq!(worker_heartbeat_timeout(), Duration::from_secs(5));
    }

    #[pg_test]
    fn accessors_follow_the_settings() {
        set("orochi.row_store_rows", "0");
        set("orochi.stripe_row_limit", "1000");
        set("orochi.write_buffer_mb", "'1GB'");
        set("orochi.cache_size_mb", "2");
        set("orochi.copy_workers", "0");
        set("orochi.compression", "zstd");
        set("orochi.compression_level", "19");
        set("orochi.enable_columnar_scan", "off");
        assert_eq!((row_store_rows(), stripe_row_limit()), (0, 1_000));
        assert_eq!((write_buffer_bytes(), cache_size_bytes()), (1 << 30, 2 << 20));
        assert_eq!((compression(), compression_level()), (Compression::Zstd, 19));
        assert!(!enable_columnar_scan() && copy_workers() == 0);
    }

    #[pg_test(error = "999 is outside the valid range for parameter \"orochi.stripe_row_limit\" (1000 .. 1000000)")]
    fn bounds_are_checked() {
        set("orochi.stripe_row_limit", "999");
    }

    #[pg_test(error = "parameter \"orochi.mover_naptime_ms\" cannot be changed now")]
    fn worker_settings_come_from_the_file() {
        set("orochi.mover_naptime_ms", "10");
    }

    #[pg_test(error = "invalid configuration parameter name \"orochi.nothing\"")]
    fn the_prefix_is_reserved() {
        set("orochi.nothing", "1");
    }
}
