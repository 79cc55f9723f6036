//! What this backend has read of stripes lately: footers, directories, vectors. Stripes never change, so an entry is
//! right for as long as its blob exists, and blob ids are never reused.

use super::blob::Pieces;
use super::encoding::{ColumnDirectory, DeleteBitmap, Footer, Permutation, RowBlock, Vector};
use crate::pg::relation::FileId;
use crate::pg::statistic::{Subject, Summary};
use crate::settings;
use lru::LruCache;
use std::cell::RefCell;
use std::rc::Rc;

/// What an entry is of a blob.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// The footer.
    Footer,
    /// Directory of a column.
    Directory(u32),
    /// Row numbers of a vector.
    Rows(u32),
    /// Where the rows are, of a stripe that is sorted by its values.
    Permutation,
    /// A vector of a column.
    Vector(u32, u32),
    /// The delete bitmap that the blob is.
    Deleted,
    /// What planning knows of a column of the whole table; the blob is the generation of its stripes.
    Summary(Subject),
    /// Average bytes of the values of each column, likewise.
    Widths,
}

/// A footer, and where its stripe's bytes are.
pub struct Located {
    pub footer: Footer,
    pub pieces: Pieces,
}

/// The entry itself.
#[derive(Clone)]
pub enum Entry {
    /// See [`Part::Footer`].
    Footer(Rc<Located>),
    /// See [`Part::Directory`].
    Directory(Rc<ColumnDirectory>),
    /// See [`Part::Rows`].
    Rows(Rc<RowBlock>),
    /// See [`Part::Permutation`].
    Permutation(Rc<Permutation>),
    /// See [`Part::Vector`].
    Vector(Rc<Vector>),
    /// See [`Part::Deleted`].
    Deleted(Rc<DeleteBitmap>),
    /// See [`Part::Summary`]. `None` if nothing can be said.
    Summary(Option<Rc<Summary>>),
    /// See [`Part::Widths`].
    Widths(Rc<[i32]>),
}

impl Entry {
    fn weight(&self) -> usize {
        const BASE: usize = 128;
        BASE + match self {
            Self::Footer(found) => found.footer.memory(),
            Self::Directory(directory) => size_of_val(directory.entries()),
            Self::Rows(rows) => rows.memory(),
            Self::Permutation(permutation) => permutation.memory(),
            Self::Vector(vector) => vector.memory(),
            Self::Deleted(deleted) => deleted.rows() as usize / 8,
            Self::Widths(widths) => size_of_val(widths.as_ref()),
            Self::Summary(summary) => summary.as_ref().map_or(0, |summary| summary.memory()),
        }
    }
}

type Key = (FileId, u32, Part);

struct Cache {
    entries: LruCache<Key, Entry>,
    bytes: usize,
}

thread_local! {
    static CACHE: RefCell<Cache> = RefCell::new(Cache { entries: LruCache::unbounded(), bytes: 0 });
}

/// Looks an entry up.
#[inline]
pub fn get(file: FileId, blob: u32, part: Part) -> Option<Entry> {
    CACHE.with_borrow_mut(|cache| cache.entries.get(&(file, blob, part)).cloned())
}

/// Keeps an entry; the least recently used ones go when `orochi.cache_size_mb` is exceeded.
pub fn put(file: FileId, blob: u32, part: Part, entry: Entry) {
    let limit = settings::cache_size_bytes();
    let weight = entry.weight();
    if weight > limit / 4 {
        return;
    }
    CACHE.with_borrow_mut(|cache| {
        if let Some((_, old)) = cache.entries.push((file, blob, part), entry) {
            cache.bytes = cache.bytes.saturating_sub(old.weight());
        }
        cache.bytes += weight;
        while cache.bytes > limit {
            let Some((_, old)) = cache.entries.pop_lru() else { break };
            cache.bytes = cache.bytes.saturating_sub(old.weight());
        }
    });
}
