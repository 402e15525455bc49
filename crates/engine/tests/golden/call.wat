(module
  (func $callee (param i32) (result i32)
    (if (local.get 0) (then (return (call $callee (i32.const 0)))))
    (i32.const 7))
  (func (param i32) (result i32) (i32.add (call $callee (local.get 0)) (i32.const 1))))

;; Expected:
;; function 0
;; function u0:0(i64 vmctx, i32) -> i32 tail {
;;     region0 = 0 "heap"
;;     region1 = 1 "table"
;;     region2 = 2 "global"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly gv0+8
;;     gv2 = load.i64 notrap aligned gv1
;;     sig0 = (i64 vmctx, i32) -> i32 tail
;;     fn0 = colocated u0:0 sig0
;;     stack_limit = gv2
;;
;;                                 block0(v0: i64, v1: i32):
;; @001c                               brif v1, block2, block3
;;
;;                                 block2:
;; @001e                               v3 = iconst.i32 0
;; @0020                               v4 = call fn0(v0, v3)  ; v3 = 0
;; @0022                               return v4
;;
;;                                 block3:
;; @0023                               jump block4
;;
;;                                 block4:
;; @0024                               v5 = iconst.i32 7
;; @0026                               return v5  ; v5 = 7
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
;;   testl %esi, %esi
;;   jnz     label3; j label1
;; block1:
;;   jmp     label2
;; block2:
;;   movl $0x7, %eax
;;   movq %rbp, %rsp
;;   popq %rbp
;;   retq
;; block3:
;;   uninit  %rsi
;;   xorl %esi, %esi
;;   call    User(userextname0)
;;   movq %rbp, %rsp
;;   popq %rbp
;;   retq
;;
;; function 1
;; function u0:1(i64 vmctx, i32) -> i32 tail {
;;     region0 = 0 "heap"
;;     region1 = 1 "table"
;;     region2 = 2 "global"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly gv0+8
;;     gv2 = load.i64 notrap aligned gv1
;;     sig0 = (i64 vmctx, i32) -> i32 tail
;;     fn0 = colocated u0:0 sig0
;;     stack_limit = gv2
;;
;;                                 block0(v0: i64, v1: i32):
;; @002b                               v3 = call fn0(v0, v1)
;; @002d                               v4 = iconst.i32 1
;; @002f                               v5 = iadd v3, v4  ; v4 = 1
;; @0030                               return v5
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
;;   call    User(userextname0)
;;   leal 1(%rax), %eax
;;   movq %rbp, %rsp
;;   popq %rbp
;;   retq
