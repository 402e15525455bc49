(module
  (memory 1)
  (func (param i32) (result i32) (memory.grow (local.get 0)))
  (func (result i32) (memory.size)))

;; Expected:
;; function 0
;; function u0:0(i64 vmctx, i32) -> i32 tail {
;;     region0 = 0 "heap"
;;     region1 = 1 "table"
;;     region2 = 2 "global"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly gv0+8
;;     gv2 = load.i64 notrap aligned gv1
;;     sig0 = (i64 vmctx, i32, i64) -> i64 tail
;;     fn0 = colocated u0:3 sig0
;;     stack_limit = gv2
;;
;;                                 block0(v0: i64, v1: i32):
;; @0025                               v3 = iconst.i32 0
;; @0025                               v4 = uextend.i64 v1
;; @0025                               v5 = call fn0(v0, v3, v4)  ; v3 = 0
;; @0025                               v6 = ireduce.i32 v5
;; @0027                               return v6
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
;;   movq %rsi, %r9
;;   uninit  %rsi
;;   xorl %esi, %esi
;;   movl %r9d, %edx
;;   call    User(userextname0)
;;   movq %rbp, %rsp
;;   popq %rbp
;;   retq
;;
;; function 1
;; function u0:1(i64 vmctx) -> i32 tail {
;;     region0 = 0 "heap"
;;     region1 = 1 "table"
;;     region2 = 2 "global"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly gv0+8
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;;                                 block0(v0: i64):
;; @002a                               v2 = load.i64 notrap aligned readonly can_move v0+40
;; @002a                               v3 = load.i64 notrap aligned v2+8
;; @002a                               v4 = iconst.i64 16
;; @002a                               v5 = ushr v3, v4  ; v4 = 16
;; @002a                               v6 = ireduce.i32 v5
;; @002c                               return v6
;; }
;;
;;   pushq %rbp
;;   movq %rsp, %rbp
;; block0:
;;   movq 0x28(%rdi), %rsi
;;   movq 8(%rsi), %rax
;;   shrq $0x10, %rax
;;   movq %rbp, %rsp
;;   popq %rbp
;;   retq
