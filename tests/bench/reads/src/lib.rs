//! A filter that reads one value of shared data as often for each request as its configuration says: how many reads a whole Envoy can do,
//! with any number of workers. The value is as long as a bucket of the table.
#![expect(clippy::disallowed_methods, reason = "it is not the product, and what it does cannot fail: it wrote the value itself")]

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType};

const NAME: &str = "value";
/// Sixteen entries of the table.
const VALUE: [u8; 768] = [7; 768];

mod entry {
    proxy_wasm::main! {{
        proxy_wasm::set_root_context(|_| Box::new(crate::Root { times: 0 }));
    }}
}

struct Root {
    times: u32,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _: usize) -> bool {
        let text = self.get_plugin_configuration().unwrap_or_default();
        self.times = String::from_utf8_lossy(&text).parse().unwrap_or(0);
        self.set_shared_data(NAME, Some(&VALUE), None).is_ok()
    }

    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Http { times: self.times }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

struct Http {
    times: u32,
}

impl Context for Http {}

impl HttpContext for Http {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        let complete = (0..self.times).all(|_| self.get_shared_data(NAME).0.is_some_and(|value| value.len() == VALUE.len()));
        if complete {
            Action::Continue
        } else {
            self.send_http_response(500, Vec::new(), None);
            Action::Pause
        }
    }
}
