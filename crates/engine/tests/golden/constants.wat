(module
  (memory 1)
  ;; The zeros of locals and operands are made where they are used: none has a register for the whole function.
  (func (param $turns i32) (result i32) (local $found i32) (local $turn i32) (local $at i32)
    (if (local.get $turns)
      (then
        (loop $outer
          (memory.fill (i32.const 0) (i32.const 0) (i32.const 100))
          (local.set $at (i32.const 0))
          (loop $inner
            (local.set $found (i32.add (local.get $found) (i32.load8_u (local.get $at))))
            (call 1)
            (br_if $inner (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 1))) (i32.const 100))))
          (br_if $outer
            (i32.lt_u (local.tee $turn (i32.add (local.get $turn) (i32.const 1))) (local.get $turns))))))
    (local.get $found))
  (func))
