"""From a kernel written in Python to machine code of this processor, by numba and LLVM.

A kernel takes pointers and 64-bit integers and returns nothing. Its machine code is one function of C,
``int run(void *sink, void *sink, const int64_t *arguments)``, and needs nothing of Python or numba: whoever loads it
(:mod:`hwbnn.infer.cpu.native`) needs neither. Importing this module takes longer than most networks need to run.
"""

import sys
from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import njit
from numba.core import types
from numba.extending import intrinsic

from hwbnn.infer.cpu.host import feature_string, processor
from hwbnn.infer.cpu.shapes import ENTRY

__all__ = ["F32", "I32", "I64", "U8", "U32", "U64", "assembly", "helper", "kernel", "object_code", "signature"]

F32, I32, I64, U8, U32, U64 = (types.CPointer(kind) for kind in
                               (types.float32, types.int32, types.int64, types.uint8, types.uint32, types.uint64))
_OPTIONS = {"error_model": "numpy", "boundscheck": False}  # no exceptions: there is no one to catch them
_FROM_C = {"memcpy", "memmove", "memset"}  # what LLVM makes of loops; every process has them

_KERNELS: dict[str, tuple[Callable, dict[str, Any]]] = {}


def kernel(name: str | None = None, /, **pointers: types.CPointer) -> Callable[[Callable], Callable]:
    """Make a function a kernel, known by its own name unless another is given.

    The parameters that are named are pointers, all others 64-bit integers.
    """
    def register(function: Callable) -> Callable:
        names = function.__code__.co_varnames[:function.__code__.co_argcount]
        if not set(pointers) <= set(names):
            raise ValueError(f"Pointers of {function.__name__} must be parameters, not {', '.join(pointers)}")
        _KERNELS[name or function.__name__] = function, {name: pointers.get(name, types.int64) for name in names}
        return function
    return register


def helper(function: Callable) -> Any:
    """Make a function callable from kernels."""
    return njit(**_OPTIONS)(function)


def signature(name: str) -> list[str]:
    """Per argument of a kernel: the type of the elements that it points to, or a minus for an integer."""
    _, kinds = _KERNELS[name]
    return [str(kind.dtype) if isinstance(kind, types.CPointer) else "-" for kind in kinds.values()]


def object_code(name: str) -> bytes:
    """The object file of a kernel, whose function :data:`ENTRY` runs it."""
    machine = _machine()
    return machine.emit_object(_module(name, machine))


def assembly(name: str) -> str:
    """The same for readers."""
    machine = _machine()
    return machine.emit_assembly(_module(name, machine))


def _machine() -> Any:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    triple = llvm.get_process_triple() + ("-elf" if sys.platform.startswith("win32") else "")
    return llvm.Target.from_triple(triple).create_target_machine(processor(), feature_string(), opt=3, reloc="pic",
                                                                 codemodel="jitdefault", jit=True)


def _module(name: str, machine: Any) -> Any:
    """LLVM's optimized module of a kernel, with no symbol but :data:`ENTRY` for others to see."""
    function, kinds = _KERNELS[name]
    body, arguments = helper(function), _unpacking(list(kinds.values()))

    def entry(table):
        body(*arguments(table))

    bare: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, **_OPTIONS}
    compiled: Any = njit(types.void(I64), **bare)(entry)
    only = compiled.signatures[0]
    module = llvm.parse_assembly(compiled.inspect_llvm(only))
    module.get_function(compiled.overloads[only].fndesc.llvm_func_name).name = ENTRY
    for value in (*module.functions, *module.global_variables):
        if not value.is_declaration and value.name != ENTRY:
            value.linkage = "internal"
    passes = llvm.create_new_module_pass_manager()
    passes.add_global_dead_code_eliminate_pass()
    passes.run(module, llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options()))
    missing = {value.name for value in (*module.functions, *module.global_variables)
               if value.is_declaration and not value.name.startswith("llvm.")} - _FROM_C
    if missing:
        raise ValueError(f"Kernel {name} must need nothing of Python, not {', '.join(sorted(missing))}")
    return module


def _unpacking(kinds: list[Any]) -> Any:
    """An intrinsic that turns the table of arguments into a tuple of them."""
    @intrinsic
    def arguments(typingctx, table):
        result = types.Tuple(kinds)

        def generate(context, builder, signature, args):
            values = []
            for k, kind in enumerate(kinds):
                value = builder.load(builder.gep(args[0], [ir.Constant(ir.IntType(64), k)]))
                if isinstance(kind, types.CPointer):
                    value = builder.inttoptr(value, context.get_value_type(kind))
                values.append(value)
            return context.make_tuple(builder, result, values)

        return result(table), generate
    return arguments
