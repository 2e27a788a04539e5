//! What the dialects of other systems share, whatever system it is: where their clients reach us, the frame of an answer, how bodies and
//! queries are read, fields, filters, and what is noted of a refusal. It knows no dialect, has no word of any, and decides nothing about
//! who may do what.

mod answer;
mod describe;
mod field;
mod filter;
mod read;
mod site;
mod uuid;

pub(crate) use answer::Answer;
pub(crate) use describe::body;
pub(crate) use field::{Field, Write, need, read, text, writable, write};
pub(crate) use filter::{Filters, as_text, page_url};
pub(crate) use read::{object, short_query};
pub(crate) use site::Site;
pub(crate) use uuid::{uuid, uuid_of};
