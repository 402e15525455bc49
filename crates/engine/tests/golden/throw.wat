(module
  (tag $e (param i32 i64))
  (func (param i32) (throw $e (local.get 0) (i64.const 2))))

;; Expected:
;; function 0
;; function u0:0(i64 vmctx, i32) tail {
;;     ss0 = explicit_slot 32, align = 16
;;     region0 = 0 "heap"
;;     region1 = 1 "table"
;;     region2 = 2 "global"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly gv0+8
;;     gv2 = load.i64 notrap aligned gv1
;;     sig0 = (i64 vmctx, i32, i64) -> i64 tail
;;     fn0 = colocated u0:16 sig0
;;     stack_limit = gv2
;;
;;                                 block0(v0: i64, v1: i32):
;; @0024                               v2 = iconst.i64 2
;; @0026                               v3 = stack_addr.i64 ss0
;; @0026                               store notrap aligned v1, v3
;; @0026                               store notrap aligned v2, v3+16  ; v2 = 2
;; @0026                               v4 = iconst.i32 0
;; @0026                               v5 = call fn0(v0, v4, v3)  ; v4 = 0
;; @0026                               trap user1
;; }
;;
;;   pushq %rbp
;;   movq %rsp, %rbp
;;   movq 8(%rdi), %r10
;;   movq (%r10), %r10
;;   addq $0x30, %r10
;;   cmpq %rsp, %r10
;;   jnbe #trap=stk_ovf
;;   subq $0x20, %rsp
;; block0:
;;   leaq <offset:1>+(%rsp), %rdx
;;   movl %esi, <offset:1>+(%rsp)
;;   movq $0x2, <offset:1>+0x10(%rsp)
;;   uninit  %rsi
;;   xorl %esi, %esi
;;   call    User(userextname0)
;;   ud2
