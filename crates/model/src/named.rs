//! Modules at paths that a configuration gives, where Burn's derive takes field names.

use std::fmt::Debug;

use burn::module::{Devices, Module, ModuleMapper, ModuleVisitor};
use burn::tensor::Device;

/// A module at a path of its own in the tree.
#[derive(Clone, Debug)]
pub(crate) struct Named<M> {
    path: String,
    module: M,
}

impl<M> Named<M> {
    /// `module` at `path`, whose parts are separated by periods.
    pub fn new(path: impl Into<String>, module: M) -> Self {
        Self {
            path: path.into(),
            module,
        }
    }
}

impl<M> std::ops::Deref for Named<M> {
    type Target = M;

    fn deref(&self) -> &M {
        &self.module
    }
}

/// Container type of each part of a path, for visitors.
const CONTAINER: &str = "Struct:Named";

impl<M: Module> Module for Named<M> {
    fn collect_devices(&self, devices: Devices) -> Devices {
        self.module.collect_devices(devices)
    }

    fn fork(self, device: &Device) -> Self {
        Self::new(self.path, self.module.fork(device))
    }

    fn to_device(self, device: &Device) -> Self {
        Self::new(self.path, self.module.to_device(device))
    }

    fn train(self) -> Self {
        Self::new(self.path, self.module.train())
    }

    fn valid(&self) -> Self {
        Self::new(self.path.clone(), self.module.valid())
    }

    fn materialize(self) -> Self {
        Self::new(self.path, self.module.materialize())
    }

    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        for part in self.path.split('.') {
            visitor.enter_module(part, CONTAINER);
        }
        self.module.visit(visitor);
        for part in self.path.rsplit('.') {
            visitor.exit_module(part, CONTAINER);
        }
    }

    fn map<T: ModuleMapper>(self, mapper: &mut T) -> Self {
        for part in self.path.split('.') {
            mapper.enter_module(part, CONTAINER);
        }
        let module = self.module.map(mapper);
        for part in self.path.rsplit('.') {
            mapper.exit_module(part, CONTAINER);
        }
        Self::new(self.path, module)
    }
}

/// Makes a struct a module whose parts lie where the struct lies: their paths have no field names.
macro_rules! flat_module {
    ($name:ident { $($part:ident),* } { $($rest:ident),* }) => {
        impl burn::module::Module for $name {
            fn collect_devices(&self, devices: burn::module::Devices) -> burn::module::Devices {
                $(let devices = burn::module::Module::collect_devices(&self.$part, devices);)*
                devices
            }

            fn fork(self, device: &burn::tensor::Device) -> Self {
                Self { $($part: self.$part.fork(device),)* $($rest: self.$rest),* }
            }

            fn to_device(self, device: &burn::tensor::Device) -> Self {
                Self { $($part: self.$part.to_device(device),)* $($rest: self.$rest),* }
            }

            fn train(self) -> Self {
                Self { $($part: self.$part.train(),)* $($rest: self.$rest),* }
            }

            fn valid(&self) -> Self {
                Self { $($part: self.$part.valid(),)* $($rest: self.$rest.clone()),* }
            }

            fn materialize(self) -> Self {
                Self { $($part: self.$part.materialize(),)* $($rest: self.$rest),* }
            }

            fn visit<V: burn::module::ModuleVisitor>(&self, visitor: &mut V) {
                $(self.$part.visit(visitor);)*
            }

            fn map<T: burn::module::ModuleMapper>(self, mapper: &mut T) -> Self {
                Self { $($part: burn::module::Module::map(self.$part, mapper),)* $($rest: self.$rest),* }
            }
        }
    };
}

pub(crate) use flat_module;

/// Modules that follow one another without numbers in their paths.
#[derive(Clone, Debug)]
pub(crate) struct Flat<M>(pub Vec<M>);

impl<M: Module> Module for Flat<M> {
    fn collect_devices(&self, devices: Devices) -> Devices {
        self.0.collect_devices(devices)
    }

    fn fork(self, device: &Device) -> Self {
        Self(self.0.fork(device))
    }

    fn to_device(self, device: &Device) -> Self {
        Self(self.0.to_device(device))
    }

    fn train(self) -> Self {
        Self(self.0.train())
    }

    fn valid(&self) -> Self {
        Self(self.0.valid())
    }

    fn materialize(self) -> Self {
        Self(self.0.materialize())
    }

    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        for module in &self.0 {
            module.visit(visitor);
        }
    }

    fn map<T: ModuleMapper>(self, mapper: &mut T) -> Self {
        Self(
            self.0
                .into_iter()
                .map(|module| module.map(mapper))
                .collect(),
        )
    }
}
