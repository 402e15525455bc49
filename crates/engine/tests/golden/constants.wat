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
  (func (return_call 1)))

;; Expected:
;; function 0
;; function u0:0(i64 vmctx, i32) -> i32 tail {
;;     region0 = 0 "heap"
;;     region1 = 1 "table"
;;     region2 = 2 "global"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly gv0+8
;;     gv2 = load.i64 notrap aligned gv1
;;     sig0 = (i64 vmctx) tail
;;     fn0 = colocated u0:1 sig0
;;     stack_limit = gv2
;;
;;                                 block0(v0: i64, v1: i32):
;;                                     v33 -> v1
;;                                     v32 -> v33
;;                                     v10 = load.i64 notrap aligned readonly can_move v0+32
;;                                     v4 = load.i64 notrap aligned readonly can_move v0+8
;; @0021                               v2 = iconst.i32 0
;; @0026                               brif v1, block2, block3
;;
;;                                 block2:
;; @0028                               jump block5(v2, v2)  ; v2 = 0, v2 = 0
;;
;;                                 block5(v27: i32, v29: i32):
;;                                     v28 -> v29
;; @0028                               v5 = load.i32 user15 aligned v4-0x0001_0000
;; @0028                               sequence_point
;; @002a                               v6 = iconst.i32 0
;; @002c                               v7 = iconst.i32 0
;; @002e                               v8 = iconst.i32 100
;; @0031                               v9 = uextend.i64 v6  ; v6 = 0
;; @0031                               v11 = iadd.i64 v10, v9
;; @0031                               v12 = ireduce.i8 v7  ; v7 = 0
;; @0031                               v13 = splat.i8x16 v12
;; @0031                               store little region0 v13, v11+84
;; @0031                               store little region0 v13, v11+80
;; @0031                               store little region0 v13, v11+64
;; @0031                               store little region0 v13, v11+48
;; @0031                               store little region0 v13, v11+32
;; @0031                               store little region0 v13, v11+16
;; @0031                               store little region0 v13, v11
;; @0034                               v14 = iconst.i32 0
;; @0038                               jump block7(v27, v14)  ; v14 = 0
;;
;;                                 block7(v16: i32, v17: i32):
;; @0038                               v15 = load.i32 user15 aligned v4-0xfffc
;; @0038                               sequence_point
;; @003e                               v18 = uextend.i64 v17
;; @003e                               v19 = iadd.i64 v10, v18
;; @003e                               v20 = uload8.i32 little region0 v19
;; @0041                               v21 = iadd v16, v20
;; @0044                               call fn0(v0)
;; @0048                               v22 = iconst.i32 1
;; @004a                               v23 = iadd v17, v22  ; v22 = 1
;; @004d                               v24 = iconst.i32 100
;; @0050                               v25 = icmp ult v23, v24  ; v24 = 100
;; @0050                               v26 = uextend.i32 v25
;; @0051                               brif v26, block7(v21, v23), block9
;;
;;                                 block9:
;; @0053                               jump block8
;;
;;                                 block8:
;; @0056                               v30 = iconst.i32 1
;; @0058                               v31 = iadd.i32 v29, v30  ; v30 = 1
;; @005d                               v34 = icmp ult v31, v33
;; @005d                               v35 = uextend.i32 v34
;; @005e                               brif v35, block5(v21, v31), block10
;;
;;                                 block10:
;; @0060                               jump block6
;;
;;                                 block6:
;; @0061                               jump block4(v21)
;;
;;                                 block3:
;; @0061                               jump block4(v2)  ; v2 = 0
;;
;;                                 block4(v36: i32):
;; @0064                               return v36
;; }
;;
;;   pushq %rbp
;;   movq %rsp, %rbp
;;   movq 8(%rdi), %r10
;;   movq (%r10), %r10
;;   addq $0x70, %r10
;;   cmpq %rsp, %r10
;;   jnbe #trap=stk_ovf
;;   subq $0x60, %rsp
;;   movq %rbx, 0x30(%rsp)
;;   movq %r12, 0x38(%rsp)
;;   movq %r13, 0x40(%rsp)
;;   movq %r14, 0x48(%rsp)
;;   movq %r15, 0x50(%rsp)
;; block0:
;;   testl %esi, %esi
;;   movq %rsi, <offset:1>+8(%rsp)
;;   jnz     label2; j label1
;; block1:
;;   uninit  %rax
;;   xorl %eax, %eax
;;   jmp     label11
;; block2:
;;   uninit  %rax
;;   xorl %eax, %eax
;;   movq %rax, <offset:1>+0x10(%rsp)
;;   movq 8(%rdi), %rbx
;;   uninit  %xmm0
;;   pxor %xmm0, %xmm0
;;   movdqu %xmm0, <offset:1>+0x20(%rsp)
;;   movq 0x20(%rdi), %r12
;;   movq %rdi, <offset:1>+(%rsp)
;;   movq <offset:1>+0x10(%rsp), %r13
;;   jmp     label3
;; block3:
;;   movl -0x10000(%rbx), %eax
;;   sequence_point
;;   movdqu <offset:1>+0x20(%rsp), %xmm0
;;   movdqu %xmm0, 0x54(%r12)
;;   movdqu %xmm0, 0x50(%r12)
;;   movdqu %xmm0, 0x40(%r12)
;;   movdqu %xmm0, 0x30(%r12)
;;   movdqu %xmm0, 0x20(%r12)
;;   movdqu %xmm0, 0x10(%r12)
;;   movdqu %xmm0, (%r12)
;;   uninit  %r14
;;   xorl %r14d, %r14d
;;   jmp     label4
;; block4:
;;   movl -0xfffc(%rbx), %eax
;;   sequence_point
;;   movl %r14d, %eax
;;   movzbq (%r12, %rax), %r15
;;   movq <offset:1>+(%rsp), %rdi
;;   call    User(userextname0)
;;   leal 1(%r14), %r14d
;;   movq <offset:1>+0x10(%rsp), %rax
;;   leal (%rax, %r15), %eax
;;   cmpl $0x64, %r14d
;;   jb      label5; j label6
;; block5:
;;   movq %rax, <offset:1>+0x10(%rsp)
;;   jmp     label4
;; block6:
;;   jmp     label7
;; block7:
;;   leal 1(%r13), %r13d
;;   movq <offset:1>+8(%rsp), %rsi
;;   cmpl %esi, %r13d
;;   jb      label8; j label9
;; block8:
;;   movq %rsi, <offset:1>+8(%rsp)
;;   movq %rax, <offset:1>+0x10(%rsp)
;;   jmp     label3
;; block9:
;;   jmp     label10
;; block10:
;;   jmp     label11
;; block11:
;;   movq 0x30(%rsp), %rbx
;;   movq 0x38(%rsp), %r12
;;   movq 0x40(%rsp), %r13
;;   movq 0x48(%rsp), %r14
;;   movq 0x50(%rsp), %r15
;;   addq $0x60, %rsp
;;   movq %rbp, %rsp
;;   popq %rbp
;;   retq
;;
;; function 1
;; function u0:1(i64 vmctx) tail {
;;     region0 = 0 "heap"
;;     region1 = 1 "table"
;;     region2 = 2 "global"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly gv0+8
;;     gv2 = load.i64 notrap aligned gv1
;;     sig0 = (i64 vmctx) tail
;;     fn0 = colocated u0:1 sig0
;;     stack_limit = gv2
;;
;;                                 block0(v0: i64):
;; @0067                               v1 = load.i64 notrap aligned readonly can_move v0+8
;; @0067                               v2 = load.i32 user15 aligned v1-0x0001_0000
;; @0067                               sequence_point
;; @0067                               return_call fn0(v0)
;; }
;;
;;   pushq %rbp
;;   movq %rsp, %rbp
;;   movq 8(%rdi), %r10
;;   movq (%r10), %r10
;;   addq $0x10, %r10
;;   cmpq %rsp, %r10
;;   jnbe #trap=stk_ovf
;; block0:
;;   movq 8(%rdi), %rsi
;;   movl -0x10000(%rsi), %esi
;;   sequence_point
;;   return_call_known User(userextname0) (0) tmp=%r11 %rdi=%rdi
