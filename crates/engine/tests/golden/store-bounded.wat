;; memory=bounded
(module
  (memory 1)
  (func (param i32 i64) (i64.store16 (local.get 0) (local.get 1))))

;; Expected:
;; function 0
;; function u0:0(i64 vmctx, i32, i64) tail {
;;     region0 = 0 "heap"
;;     region1 = 1 "table"
;;     region2 = 2 "global"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly gv0+8
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;;                                 block0(v0: i64, v1: i32, v2: i64):
;;                                     v4 = load.i64 notrap aligned readonly can_move v0+40
;; @0022                               v3 = uextend.i64 v1
;; @0022                               v5 = load.i64 notrap aligned v4+8
;; @0022                               v6 = iconst.i64 2
;; @0022                               v7 = iadd v3, v6  ; v6 = 2
;; @0022                               v8 = icmp ugt v7, v5
;; @0022                               trapnz v8, heap_oob
;; @0022                               v9 = load.i64 notrap aligned v4
;; @0022                               v10 = iconst.i64 0
;; @0022                               v11 = iadd v3, v10  ; v10 = 0
;; @0022                               v12 = iadd v9, v11
;; @0022                               v13 = select_spectre_guard v8, v9, v12
;; @0022                               v14 = ireduce.i16 v2
;; @0022                               store notrap little region0 v14, v13
;; @0025                               return
;; }
;;
;;   pushq %rbp
;;   movq %rsp, %rbp
;; block0:
;;   movq 0x28(%rdi), %r11
;;   movq 8(%r11), %r10
;;   movl %esi, %eax
;;   leaq 2(%rax), %rcx
;;   cmpq %r10, %rcx
;;   jnbe #trap=heap_oob
;;   movq (%r11), %rsi
;;   leaq (%rsi, %rax), %r11
;;   cmpq %r10, %rcx
;;   cmovaq %rsi, %r11
;;   movw %dx, (%r11)
;;   movq %rbp, %rsp
;;   popq %rbp
;;   retq
