//! Every path of an API with and without its trailing slash, once in the document (with it).

use std::collections::HashMap;
use std::sync::Arc;

use poem::endpoint::{BoxEndpoint, EndpointExt};
use poem::http::Method;
use poem_openapi::OpenApi;
use poem_openapi::registry::{MetaApi, Registry};

/// An API whose operations answer under `/x` and `/x/`. Declare the paths without the slash.
pub struct Slashed<T>(pub T);

impl<T: OpenApi> OpenApi for Slashed<T> {
    fn meta() -> Vec<MetaApi> {
        let mut apis = T::meta();
        for path in apis.iter_mut().flat_map(|api| &mut api.paths) {
            if !path.path.ends_with('/') {
                path.path.push('/');
            }
        }
        apis
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn add_routes(self, table: &mut HashMap<String, HashMap<Method, BoxEndpoint<'static>>>) {
        let mut own = HashMap::new();
        self.0.add_routes(&mut own);
        for (path, methods) in own {
            let bare = path.trim_end_matches('/').to_owned();
            for (method, endpoint) in methods {
                let endpoint = Arc::new(endpoint);
                for path in [bare.clone(), format!("{bare}/")] {
                    table.entry(path).or_default().insert(method.clone(), Arc::clone(&endpoint).boxed());
                }
            }
        }
    }
}
