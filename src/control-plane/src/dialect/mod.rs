//! What the dialects of other systems share, whatever system it is: where their clients reach us, how browsers prove themselves, the frame of an answer, how bodies and
//! queries are read, the fields of resources, and lists of which a part is asked for. It knows no dialect and has no word of any, and it
//! decides nothing about who may do what.

mod answer;
mod csrf;
mod describe;
pub(crate) mod field;
pub(crate) mod list;
pub(crate) mod request;
mod site;
mod uuid;

pub(crate) use answer::Answer;
pub(crate) use csrf::csrf_cookie;
pub(crate) use describe::described_body;
pub(crate) use site::Site;
pub(crate) use uuid::{uuid, uuid_of};
