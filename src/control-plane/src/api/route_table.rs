//! A route table that can be read: a router does not tell which methods its paths take, and `/openapi.json` says so. It knows no route.

use axum::Router;
use axum::handler::Handler;
use axum::routing::{self, MethodRouter};

use super::App;

/// Routes, and which they are.
#[derive(Debug, Default)]
pub(super) struct RouteTable {
    pub(super) router: Router<App>,
    pub(super) routes: Vec<Route>,
}

/// One method of one path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Route {
    /// In capitals.
    pub(super) method: &'static str,
    /// With its variables in braces.
    pub(super) path: &'static str,
}

impl RouteTable {
    /// Adds what a path takes.
    pub(super) fn route(self, path: &'static str, taken: Taken) -> Self {
        let Self { router, mut routes } = self;
        routes.extend(taken.methods.iter().map(|method| Route { method, path }));
        Self { router: router.route(path, taken.router), routes }
    }
}

/// What a path takes.
#[derive(Debug, Default)]
pub(super) struct Taken {
    router: MethodRouter<App>,
    methods: Vec<&'static str>,
}

macro_rules! methods {
    ($($function:ident = $method:literal),+ $(,)?) => {
        $(
            /// A path that takes this method.
            pub(super) fn $function<H: Handler<T, App>, T: 'static>(handler: H) -> Taken {
                Taken { router: routing::$function(handler), methods: vec![$method] }
            }
        )+
    };
}

methods! { delete = "DELETE", get = "GET", patch = "PATCH", post = "POST", put = "PUT" }

impl Taken {
    /// It takes DELETE, too.
    pub(super) fn delete<H: Handler<T, App>, T: 'static>(mut self, handler: H) -> Self {
        self.methods.push("DELETE");
        Self { router: self.router.delete(handler), ..self }
    }
}
