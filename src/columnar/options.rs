//! Options of a columnar table. PostgreSQL gives access methods no storage parameters, so they are the table's security
//! label of the provider `orochi`, which pg_dump keeps: `compression=zstd, compression_level=9, stripe_row_limit=50000`.
//! The columns of segment_by, order_by and bloom_filter have labels of their own (`ordering.rs`).

use super::am;
use super::encoding::Compression;
use super::ordering::{self, ROLES};
use crate::pg::error::{OrRaise, OrochiError};
use crate::pg::regclass::RegClass;
use crate::pg::{OpenRel, Rel, label, server};
use crate::settings;
use pgrx::pg_sys;
use pgrx::prelude::*;
use std::fmt;

/// Name of the label provider.
pub const PROVIDER: &std::ffi::CStr = c"orochi";

/// What a table asks for; what it does not say the settings decide.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Options {
    compression: Option<Method>,
    compression_level: Option<i32>,
    stripe_row_limit: Option<i32>,
    recluster_stripes: Option<i32>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Method {
    None,
    Lz4,
    Zstd,
}

impl Method {
    fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

fn invalid(what: String, hint: &str) -> OrochiError {
    OrochiError::InvalidOption { what, hint: hint.to_owned() }
}

fn number(name: &str, value: &str, from: i32, to: i32) -> Result<i32, OrochiError> {
    let parsed = value.parse().ok().filter(|n| (from..=to).contains(n));
    parsed.ok_or_else(|| {
        invalid(
            format!("invalid value for columnar option \"{name}\": \"{value}\""),
            &format!("It is a number from {from} to {to}."),
        )
    })
}

impl Options {
    /// Reads `name=value` pairs separated by commas.
    pub fn parse(text: &str) -> Result<Self, OrochiError> {
        let mut options = Self::default();
        for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let Some((name, value)) = pair.split_once('=') else {
                return Err(invalid(
                    format!("invalid columnar option: \"{pair}\""),
                    "Options are written as name=value.",
                ));
            };
            options.set(name.trim(), value.trim())?;
        }
        Ok(options)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), OrochiError> {
        match name {
            "compression" => {
                let method = [Method::None, Method::Lz4, Method::Zstd].into_iter().find(|m| m.name() == value);
                self.compression = Some(method.ok_or_else(|| {
                    invalid(
                        format!("invalid value for columnar option \"compression\": \"{value}\""),
                        "It is one of none, lz4 and zstd.",
                    )
                })?);
            }
            "compression_level" => self.compression_level = Some(number(name, value, 1, 19)?),
            "stripe_row_limit" => self.stripe_row_limit = Some(number(name, value, 1000, 1_000_000)?),
            "recluster_stripes" => self.recluster_stripes = Some(number(name, value, 1, 64)?),
            _ => {
                return Err(invalid(
                    format!("unrecognized columnar option \"{name}\""),
                    "The options are compression, compression_level, stripe_row_limit and recluster_stripes; segment_by, order_by and bloom_filter belong to columns.",
                ));
            }
        }
        Ok(())
    }

    /// Options of a table.
    pub fn of(table: Rel) -> Self {
        label::get(table.oid(), 0, PROVIDER).map_or_else(Self::default, |text| Self::parse(&text).or_raise())
    }

    /// Compression of new stripes.
    pub fn compression(&self) -> Compression {
        let level = self.compression_level.unwrap_or_else(settings::compression_level);
        match self.compression {
            Some(Method::None) => Compression::None,
            Some(Method::Lz4) => Compression::Lz4,
            Some(Method::Zstd) => Compression::Zstd { level },
            None => match settings::compression() {
                settings::Compression::None => Compression::None,
                settings::Compression::Lz4 => Compression::Lz4,
                settings::Compression::Zstd => Compression::Zstd { level },
            },
        }
    }

    /// Rows of a full stripe.
    pub fn stripe_row_limit(&self) -> u32 {
        self.stripe_row_limit.map_or_else(|| settings::stripe_row_limit() as u32, |limit| limit as u32)
    }

    /// Neighbouring stripes that the mover sorts together.
    pub fn recluster_stripes(&self) -> usize {
        self.recluster_stripes.map_or(1, |count| count as usize)
    }
}

impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pairs = [
            self.compression.map(|m| format!("compression={}", m.name())),
            self.compression_level.map(|n| format!("compression_level={n}")),
            self.stripe_row_limit.map(|n| format!("stripe_row_limit={n}")),
            self.recluster_stripes.map(|n| format!("recluster_stripes={n}")),
        ];
        let pairs: Vec<String> = pairs.into_iter().flatten().collect();
        f.write_str(&pairs.join(", "))
    }
}

/// Registers the label provider. Once, in `_PG_init`.
pub fn register() {
    label::register(PROVIDER, check_label);
}

/// Accepts a label only on a columnar table, and only with options that exist.
fn check_label(object: &pg_sys::ObjectAddress, text: Option<&str>) {
    let Some(text) = text else { return };
    if object.classId != pg_sys::RelationRelationId {
        OrochiError::WrongObject { what: "columnar options belong to a table or a column".into() }.raise();
    }
    let table = columnar(object.objectId);
    match object.objectSubId {
        0 => drop(Options::parse(text).or_raise()),
        column => ordering::check_label(table.rel(), column, text),
    }
}

/// Forgets the options of a table that is no columnar one any more.
pub fn forget(table: pg_sys::Oid) {
    if label::get(table, 0, PROVIDER).is_some() {
        label::set(table, 0, PROVIDER, None);
    }
    ordering::forget(OpenRel::table(table, pg_sys::NoLock).rel());
}

/// Opens a columnar table, or raises an error if the relation is none.
fn columnar(oid: pg_sys::Oid) -> OpenRel {
    let table = OpenRel::table(oid, pg_sys::AccessShareLock);
    if !am::is_columnar(table.rel().raw()) {
        OrochiError::WrongObject { what: format!("\"{}\" is not a columnar table", table.rel().name()) }.raise();
    }
    table
}

/// Sets options of a columnar table, for stripes that are written from now on. An argument that is NULL leaves the option as it is; `reset`
/// first forgets them all. `segment_by`, `order_by` and `bloom_filter` list columns; an empty list forgets the option.
#[pg_extern(volatile, parallel_unsafe)]
fn columnar_set_options(
    table_name: RegClass,
    compression: default!(Option<&str>, "NULL"),
    compression_level: default!(Option<i32>, "NULL"),
    stripe_row_limit: default!(Option<i32>, "NULL"),
    recluster_stripes: default!(Option<i32>, "NULL"),
    segment_by: default!(Option<&str>, "NULL"),
    order_by: default!(Option<&str>, "NULL"),
    bloom_filter: default!(Option<&str>, "NULL"),
    reset: default!(bool, false),
) {
    server::forbid_if_read_only(c"orochi.columnar_set_options()");
    let table = columnar(table_name.0);
    server::require_owner(table.rel());
    let mut options = if reset { Options::default() } else { Options::of(table.rel()) };
    let given = [
        compression.map(|v| ("compression", v.to_owned())),
        compression_level.map(|v| ("compression_level", v.to_string())),
        stripe_row_limit.map(|v| ("stripe_row_limit", v.to_string())),
        recluster_stripes.map(|v| ("recluster_stripes", v.to_string())),
    ];
    for (name, value) in given.into_iter().flatten() {
        options.set(name, &value).or_raise();
    }
    let text = options.to_string();
    label::set(table_name.0, 0, PROVIDER, (!text.is_empty()).then_some(text.as_str()));
    // SAFETY: runs in a function that is not read-only. Each step is to see what the one before has done.
    let step = || unsafe { pg_sys::CommandCounterIncrement() };
    if reset {
        ordering::forget(table.rel());
        step();
    }
    for (role, columns) in ROLES.into_iter().zip([segment_by, order_by, bloom_filter]) {
        if let Some(columns) = columns {
            ordering::set_list(table.rel(), role, columns);
            step();
        }
    }
}

/// Options of a columnar table as text, empty if it has none of its own.
#[pg_extern(stable, parallel_safe)]
fn columnar_options(table_name: RegClass) -> String {
    let table = columnar(table_name.0);
    let mut shown = vec![Options::of(table.rel()).to_string()];
    shown.extend(ROLES.map(|role| {
        let columns = ordering::list(table.rel(), role);
        if columns.is_empty() { columns } else { format!("{}=({columns})", role.option()) }
    }));
    shown.retain(|text| !text.is_empty());
    shown.join(", ")
}

extension_sql!(
    r#"
COMMENT ON FUNCTION orochi.columnar_set_options(regclass, text, int, int, int, text, text, text, bool) IS
    'sets options of a columnar table: compression, compression_level, stripe_row_limit, recluster_stripes, segment_by, order_by, bloom_filter';
COMMENT ON FUNCTION orochi.columnar_options(regclass) IS 'options of a columnar table as text';
"#,
    name = "columnar_options_comments",
    requires = [columnar_set_options, columnar_options]
);

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn options_round_trip() {
        let text = "compression=zstd, compression_level=9, stripe_row_limit=5000, recluster_stripes=8";
        let options = Options::parse(text).expect("valid");
        assert_eq!(options.to_string(), text);
        assert_eq!(Options::parse("").expect("empty"), Options::default());
    }

    #[test]
    fn unknown_options_are_refused() {
        for text in [
            "colour=red",
            "compression=rar",
            "compression_level=20",
            "stripe_row_limit=x",
            "recluster_stripes=0",
            "compression",
            "order_by=1",
        ] {
            assert!(matches!(Options::parse(text), Err(OrochiError::InvalidOption { .. })), "{text}");
        }
    }
}
